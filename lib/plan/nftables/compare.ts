/** Compares the table with what was read of it; says what differs, not what to do about it. */
import type { ObjectId } from "../../model/names.ts";
import { type FrameLines, frameLines } from "../../nftables/frame-lines.ts";
import { type ByMap, byMap, type Elements, type MapName, mapNames } from "../../nftables/maps.ts";
import type { WantedTable } from "./layout.ts";

/** The table as read. */
export interface ObservedTable {
  readonly frame: FrameLines;
  /** Of maps that are not as ours are, nothing. */
  readonly elements: Elements;
}

export interface WantedElement {
  readonly key: string;
  readonly value: string;
  readonly object: ObjectId;
}

export interface MapDifference {
  readonly map: MapName;
  /** Wanted elements that are not there, or there with another value. */
  readonly absent: readonly WantedElement[];
  /** Keys that nobody asks for, with their values. */
  readonly surplus: readonly (readonly [key: string, value: string])[];
}

export interface TableDifference {
  readonly isFrameRight: boolean;
  /** The maps that differ. */
  readonly maps: readonly MapDifference[];
}

/** On a table that is as it should be this makes nothing: it looks each element up, and counts. */
export function compareTable(wanted: WantedTable, { frame, elements }: ObservedTable): TableDifference {
  const lines = frameLines(wanted.frame);
  const absent = byMap((): WantedElement[] => []);
  const present = { fip_in: 0, fip_out: 0, dnat_1: 0, dnat_n: 0, snat_r: 0, snat_p: 0, hairpin: 0 };
  wanted.visit((map, key, value, object) => {
    const found = elements[map].get(key);
    if (found !== undefined) present[map]++;
    if (found !== value) absent[map].push({ key, value, object });
  });
  const surplus = surplusElements(wanted, elements, present);
  return {
    isFrameRight: frame?.length === lines.length && lines.every((line, at) => line === frame[at]),
    maps: mapNames
      .map((map) => ({ map, absent: absent[map], surplus: surplus.get(map) ?? [] }))
      .filter((part) => part.absent.length > 0 || part.surplus.length > 0),
  };
}

/** Of the maps that hold more than those of their elements that are wanted. */
function surplusElements(
  wanted: WantedTable,
  elements: Elements,
  present: ByMap<number>,
): ReadonlyMap<MapName, MapDifference["surplus"]> {
  const crowded = new Map<MapName, Map<string, string>>();
  for (const map of mapNames) if (elements[map].size > present[map]) crowded.set(map, new Map(elements[map]));
  if (crowded.size > 0) wanted.visit((map, key) => crowded.get(map)?.delete(key));
  return new Map([...crowded].map(([map, strangers]) => [map, [...strangers]]));
}
