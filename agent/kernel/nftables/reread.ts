/** Reads elements that changed since a reading, by key if they are few. */
import type { TouchedKeys } from "../../../lib/nftables/filter-tables.ts";
import type { ElementValues } from "../../../lib/nftables/maps.ts";
import type { SetName } from "../../../lib/nftables/sets.ts";
import { OrderedMap } from "../../../lib/ordered-map.ts";
import { runYielding } from "../../run-yielding.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { readMap } from "./read.ts";
import { readElements } from "./transaction.ts";

/** With more elements than this, whole maps are read. */
export const maxReadByKey = 256;

/** @returns `before` with the current values of the keys; maps without keys stay the same objects */
export async function rereadElements<Name extends SetName>(
  netlink: ConversingConnection,
  names: readonly Name[],
  before: { readonly [K in Name]: ElementValues },
  keys: ReadonlyMap<Name, TouchedKeys>,
  signal: AbortSignal,
): Promise<{ readonly [K in Name]: ElementValues }> {
  const elements: { [K in Name]: ElementValues } = { ...before };
  const count = (map: Name) => countOf(keys.get(map) ?? noKeys);
  const changed = names.filter((map) => count(map) > 0);
  if (changed.reduce((sum, map) => sum + count(map), 0) > maxReadByKey) {
    for (const map of changed) elements[map] = await readMap(netlink, map, signal);
    return elements;
  }
  const touched = changed.flatMap((map) => [...(keys.get(map) ?? noKeys)].map((key) => ({ map, key })));
  const values = await readElements(netlink, touched, signal);
  for (const [map, group] of Map.groupBy(touched.entries(), ([, one]) => one.map)) {
    // A copy would cost time in proportion to the map; the first change of a map still does.
    const draft = (await runYielding(OrderedMap.fromChunked(before[map]))).edit();
    for (const [at, { key }] of group) {
      const value = values[at];
      if (value === undefined) draft.delete(key);
      else draft.set(key, value);
    }
    elements[map] = draft.finish();
  }
  return elements;
}

const noKeys: ReadonlySet<string> = new Set();

function countOf(keys: TouchedKeys): number {
  return keys === "all" ? Number.POSITIVE_INFINITY : keys.size;
}
