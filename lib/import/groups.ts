/** Groups what was read. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { ReadDnat } from "./read-rules.ts";

/** Takes a few milliseconds. */
const groupedAtOnce = 4_000;

/** The items with one key, in their order. Keys are in the order of their first item. */
export function* groupChunked<T, K>(
  items: Iterable<T>,
  keyOf: (item: T) => K,
): Chunked<ReadonlyMap<K, readonly [T, ...T[]]>> {
  const groups = new Map<K, [T, ...T[]]>();
  const isDue = everyNth(groupedAtOnce);
  for (const item of items) {
    if (isDue()) yield;
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

/** What two rules of one DNAT have in common. */
export function serviceText({
  eip,
  protocol,
  externalPort,
}: Pick<ReadDnat, "eip" | "protocol" | "externalPort">): string {
  return `${eip} ${protocol} ${externalPort}`;
}
