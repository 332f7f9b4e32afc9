/** Compares the table with what was read of it. Says what differs, not how to repair it. */
import { type Chunked, everyNth, runSync } from "../../chunked.ts";
import type { ObjectId } from "../../model/names.ts";
import { type DefinitionLines, definitionLines, isSameDefinition } from "../../nftables/definition-lines.ts";
import { type ByMap, byMap, type Elements, type MapName, mapNames } from "../../nftables/maps.ts";
import type { WantedTable } from "./layout.ts";

/** The table as read. */
export interface ObservedTable {
  readonly definition: DefinitionLines;
  /** Empty for maps whose definition is not ours. */
  readonly elements: Elements;
}

export interface WantedElement {
  readonly key: string;
  readonly value: string;
  readonly object: ObjectId;
}

export interface MapDifference {
  readonly map: MapName;
  /** Wanted elements that are missing or have another value. */
  readonly absent: readonly WantedElement[];
  /** Unwanted keys with their values. */
  readonly surplus: readonly (readonly [key: string, value: string])[];
}

export interface TableDifference {
  readonly isDefinitionRight: boolean;
  /** The maps that differ. */
  readonly maps: readonly MapDifference[];
}

/** For a correct table this allocates nothing: it looks up each element and counts. */
export function compareTable(...given: Parameters<typeof compareTableChunked>): TableDifference {
  return runSync(compareTableChunked(...given));
}

/** The same in parts. */
export function* compareTableChunked(
  wanted: WantedTable,
  { definition, elements }: ObservedTable,
): Chunked<TableDifference> {
  const absent = byMap((): WantedElement[] => []);
  const present = { fip_in: 0, fip_out: 0, dnat_1: 0, dnat_n: 0, snat_r: 0, snat_p: 0, hairpin: 0 };
  yield* wanted.visitChunked((map, key, value, object) => {
    const found = elements[map].get(key);
    if (found !== undefined) present[map]++;
    if (found !== value) absent[map].push({ key, value, object });
  });
  const surplus = yield* surplusElements(wanted, elements, present);
  return {
    isDefinitionRight: isSameDefinition(definition, definitionLines(wanted.definition)),
    maps: mapNames
      .map((map) => ({ map, absent: absent[map], surplus: surplus.get(map) ?? [] }))
      .filter((part) => part.absent.length > 0 || part.surplus.length > 0),
  };
}

/** For maps with more elements than the wanted ones found in them. */
function* surplusElements(
  wanted: WantedTable,
  elements: Elements,
  present: ByMap<number>,
): Chunked<ReadonlyMap<MapName, MapDifference["surplus"]>> {
  const crowded = mapNames.filter((map) => elements[map].size > present[map]);
  if (crowded.length === 0) return new Map();
  const keys = new Map(crowded.map((map) => [map, new Set<string>()]));
  yield* wanted.visitChunked((map, key) => keys.get(map)?.add(key));
  const surplus = new Map<MapName, (readonly [string, string])[]>();
  const isDue = everyNth(lookedAtOnce);
  for (const map of crowded) {
    const unwanted: (readonly [string, string])[] = [];
    for (const element of elements[map]) {
      if (isDue()) yield;
      if (keys.get(map)?.has(element[0]) !== true) unwanted.push(element);
    }
    surplus.set(map, unwanted);
  }
  return surplus;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;
