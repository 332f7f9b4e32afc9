/** Finds, for each object, elements that were not read back, or that are present but cannot take effect. */
import { type Chunked, forEachChunked, runSync } from "../../chunked.ts";
import type { ObjectId } from "../../model/names.ts";
import { tableLabel } from "../../nftables/family.ts";
import {
  catchAll,
  type ElementMap,
  elementMaps,
  elementText,
  type MapName,
  tableName,
} from "../../nftables/maps.ts";
import type { MapDifference, TableDifference } from "./compare.ts";
import type { WantedTable } from "./layout.ts";

/** The maps that get only the packets that this one does not match. */
const asksFirst: { readonly [K in MapName]?: readonly MapName[] } = {
  fip_in: ["dnat_1", "dnat_n"],
  dnat_1: ["dnat_n"],
  fip_out: ["snat_r", "snat_p"],
  snat_r: ["snat_p"],
};

/** With more unwanted elements than this, each of them counts as an obstacle to every other. */
const maxUnwanted = 64;

/** Objects that lack something, each with the first missing thing as text. */
export function missingElements(
  ...given: Parameters<typeof missingElementsChunked>
): ReadonlyMap<ObjectId, string> {
  return runSync(missingElementsChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 3_000;

/** The same in parts. */
export function* missingElementsChunked(
  wanted: WantedTable,
  difference: TableDifference,
): Chunked<ReadonlyMap<ObjectId, string>> {
  const missing = new Map<ObjectId, string>();
  const say = (object: ObjectId, message: string) => {
    if (!missing.has(object)) missing.set(object, message);
  };
  if (!difference.isDefinitionRight) {
    const message = `table ${tableLabel(tableName)} has wrong chains, maps or rules`;
    yield* wanted.visitChunked((_map, _key, _value, object) => say(object, message));
    return missing;
  }
  for (const { map, absent } of difference.maps)
    yield* forEachChunked(absent, lookedAtOnce, ({ key, value, object }) =>
      say(object, `missing element ${elementText(map, key, value)}`),
    );
  for (const part of difference.maps) if (part.surplus.length > 0) yield* findShadowed(part, wanted, say);
  return missing;
}

function* findShadowed(
  { map, surplus }: MapDifference,
  wanted: WantedTable,
  say: (object: ObjectId, message: string) => void,
): Chunked<void> {
  const behind = new Set(asksFirst[map]);
  if (behind.size === 0) return;
  const isMany = surplus.length > maxUnwanted;
  const unwanted = surplus.slice(0, isMany ? 1 : maxUnwanted).map(([key, value]) => ({
    parts: partsOf(map, key),
    text: elementText(map, key, value),
  }));
  yield* wanted.visitChunked((name, key, _value, object) => {
    if (!behind.has(name)) return;
    const parts = isMany ? [] : partsOf(name, key);
    const shadow = unwanted.find((one) => isMany || overlaps(one.parts, parts));
    if (shadow !== undefined) say(object, `${key} in ${name} gets no packets because of ${shadow.text}`);
  });
}

type Part = readonly [first: number, last: number];

/** The parts of a key as ranges of numbers. Empty for the catch-all key. */
function partsOf(map: MapName, key: string): readonly Part[] {
  const spec: ElementMap = elementMaps[map];
  if (key === catchAll) return [];
  return key.split(" . ").map((part, index) => {
    const [first = "", last = first] = part.split("-");
    const parse = spec.key[index]?.parse ?? Number;
    return [parse(first), parse(last)];
  });
}

/** Compares the parts that both keys have: the maps of one direction start with the same fields. */
function overlaps(one: readonly Part[], other: readonly Part[]): boolean {
  return one.every(([first, last], index) => {
    const match = other[index];
    return match === undefined || (first <= match[1] && match[0] <= last);
  });
}
