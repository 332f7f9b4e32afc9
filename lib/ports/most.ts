/** The largest items of many. */

/** The `count` items with the highest value, highest first. Equal ones stay in their order. */
export function mostOf<T>(items: Iterable<T>, count: number, amountOf: (item: T) => number): readonly T[] {
  const most: { readonly item: T; readonly value: number }[] = [];
  for (const item of items) {
    const value = amountOf(item);
    if (most.length === count && value <= (most.at(-1)?.value ?? 0)) continue;
    let at = most.length;
    while (at > 0 && (most[at - 1]?.value ?? 0) < value) at--;
    most.splice(at, 0, { item, value });
    if (most.length > count) most.pop();
  }
  return most.map(({ item }) => item);
}
