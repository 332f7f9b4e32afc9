/** Reads elements that changed since a reading, by key if they are few. */
import type { TouchedKeys } from "../../../lib/nftables/filter-tables.ts";
import type { ElementValues } from "../../../lib/nftables/maps.ts";
import type { SetName } from "../../../lib/nftables/sets.ts";
import { OrderedMap } from "../../../lib/ordered-map.ts";
import { OverlaidMap } from "../../../lib/overlaid-map.ts";
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
  for (const [map, group] of Map.groupBy(touched.entries(), ([, one]) => one.map))
    elements[map] = await withValues(before[map], new Map(group.map(([at, { key }]) => [key, values[at]])));
  return elements;
}

/** Changes of a reading that are kept beside it. More of them make a map of their own, once. */
const maxBeside = 1_000;

/** @param values `undefined`: the element is not there any more */
async function withValues(
  before: ElementValues,
  values: ReadonlyMap<string, string | undefined>,
): Promise<ElementValues> {
  const changes = [...values].filter(([key, value]) => value !== before.get(key));
  if (changes.length === 0) return before;
  const [base, earlier] = before instanceof OverlaidMap ? [before.base, before.changes] : [before, []];
  const all = new Map([...earlier, ...changes]);
  if (all.size <= maxBeside && !(base instanceof OrderedMap)) return new OverlaidMap(base, all);
  const draft = (await runYielding(OrderedMap.fromChunked(base))).edit();
  for (const [key, value] of all) {
    if (value === undefined) draft.delete(key);
    else draft.set(key, value);
  }
  return draft.finish();
}

const noKeys: ReadonlySet<string> = new Set();

function countOf(keys: TouchedKeys): number {
  return keys === "all" ? Number.POSITIVE_INFINITY : keys.size;
}
