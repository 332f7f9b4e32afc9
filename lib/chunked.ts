/** Long computations that can be interrupted: generators that yield so that other work can run. */

/** Yields between its parts. */
export type Chunked<T> = Generator<undefined, T, undefined>;

/** Runs all parts without a pause. */
export function runSync<T>(parts: Chunked<T>): T {
  for (;;) {
    const { done, value } = parts.next();
    if (done) return value;
  }
}

/** A computation that may have parts. */
export type MaybeChunked<T> = T | Chunked<T>;

/** The same computation in parts; one that has none is done with the first. */
export function* inParts<T extends object>(given: MaybeChunked<T>): Chunked<T> {
  return "next" in given ? yield* given : given;
}

/**
 * For loops over many items: tells when it is time to yield, which is once in `count` calls. Loops that share it count
 * together.
 */
export function everyNth(count: number): () => boolean {
  let calls = 0;
  return () => ++calls % count === 0;
}

/** Calls `visit` with each item, in parts of `atOnce` items. */
export function* forEachChunked<T>(
  items: Iterable<T>,
  atOnce: number,
  visit: (item: T) => void,
): Chunked<void> {
  let seen = 0;
  for (const item of items) {
    if (seen++ % atOnce === atOnce - 1) yield;
    visit(item);
  }
}

/** Like `Array.map`, in parts of `atOnce` items. */
export function* mapChunked<T, R>(
  items: Iterable<T>,
  atOnce: number,
  convert: (item: T) => R,
): Chunked<readonly R[]> {
  const converted: R[] = [];
  yield* forEachChunked(items, atOnce, (item) => converted.push(convert(item)));
  return converted;
}

/** Like `Array.filter`, in parts of `atOnce` items. */
export function* filterChunked<T>(
  items: Iterable<T>,
  atOnce: number,
  isWanted: (item: T) => boolean,
): Chunked<readonly T[]> {
  const wanted: T[] = [];
  yield* forEachChunked(items, atOnce, (item) => {
    if (isWanted(item)) wanted.push(item);
  });
  return wanted;
}

/** Takes a few milliseconds. */
const sortedAtOnce = 2_000;

/** Sorts stably in parts: slices are sorted, then merged two by two. */
export function* sortChunked<T>(
  items: readonly T[],
  compare: (one: T, other: T) => number,
): Chunked<readonly T[]> {
  let runs: (readonly T[])[] = [];
  for (let from = 0; from < items.length; from += sortedAtOnce) {
    runs.push(items.slice(from, from + sortedAtOnce).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const merged: (readonly T[])[] = [];
    for (let at = 0; at < runs.length; at += 2)
      merged.push(yield* merge(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* merge<T>(
  one: readonly T[],
  other: readonly T[],
  compare: (one: T, other: T) => number,
): Chunked<readonly T[]> {
  const merged: T[] = [];
  let [left, right] = [0, 0];
  while (left < one.length && right < other.length) {
    const [first, second] = [one[left] as T, other[right] as T];
    const isFirst = compare(first, second) <= 0;
    merged.push(isFirst ? first : second);
    if (isFirst) left++;
    else right++;
    if (merged.length % sortedAtOnce === 0) yield;
  }
  for (; left < one.length; left++) merged.push(one[left] as T);
  for (; right < other.length; right++) merged.push(other[right] as T);
  yield;
  return merged;
}
