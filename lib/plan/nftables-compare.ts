/** Compares the table with what was read of it; says what differs, not what to do about it. */
import { type FrameLines, frameLines } from "../nftables/frame-lines.ts";
import { type Elements, type MapName, mapNames } from "../nftables/maps.ts";
import type { WantedElement, WantedTable } from "./nftables-wanted.ts";

/** The table as read. */
export interface ObservedTable {
  readonly frame: FrameLines;
  /** Of maps that are not as ours are, nothing. */
  readonly elements: Elements;
}

export interface MapDifference {
  readonly map: MapName;
  /** Wanted elements that are not there, or there with another value. */
  readonly absent: readonly (readonly [key: string, element: WantedElement])[];
  /** Keys that nobody asks for, with their values. */
  readonly surplus: readonly (readonly [key: string, value: string])[];
}

export interface TableDifference {
  readonly isFrameRight: boolean;
  /** The maps that differ. */
  readonly maps: readonly MapDifference[];
}

export function compareTable({ frame, elements }: WantedTable, observed: ObservedTable): TableDifference {
  const lines = frameLines(frame);
  return {
    isFrameRight:
      observed.frame?.length === lines.length && lines.every((line, at) => line === observed.frame?.[at]),
    maps: mapNames
      .map((map) => compareMap(map, elements[map], observed.elements[map]))
      .filter(({ absent, surplus }) => absent.length > 0 || surplus.length > 0),
  };
}

function compareMap(
  map: MapName,
  wanted: ReadonlyMap<string, WantedElement>,
  observed: ReadonlyMap<string, string>,
): MapDifference {
  const absent: (readonly [string, WantedElement])[] = [];
  let present = 0;
  for (const [key, element] of wanted) {
    const value = observed.get(key);
    if (value !== undefined) present++;
    if (value !== element.value) absent.push([key, element]);
  }
  const surplus = present === observed.size ? [] : [...observed].filter(([key]) => !wanted.has(key));
  return { map, absent, surplus };
}
