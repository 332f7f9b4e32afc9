/** Facts about the table as read, without comparing it with the program. */
import { type Chunked, everyNth, runSync } from "../../chunked.ts";
import type { Family } from "../../model/family.ts";
import type { Ip } from "../../model/ip.ts";
import { type MapName, mapNames } from "../../nftables/maps.ts";
import type { ObservedTable } from "./compare.ts";

/** Where an element of each map has its EIP: first in the key, or as the value. */
const eipPlace = {
  fip_in: "key",
  fip_out: "value",
  dnat_1: "key",
  dnat_n: "key",
  snat_r: "value",
  snat_p: "value",
  hairpin: "key",
} as const satisfies Record<MapName, "key" | "value">;

/** The addresses that elements have as EIP. */
export function eipsNamed(...given: Parameters<typeof eipsNamedChunked>): ReadonlySet<Ip> {
  return runSync(eipsNamedChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/** The same in parts. */
export function* eipsNamedChunked({ elements }: ObservedTable, { parse }: Family): Chunked<ReadonlySet<Ip>> {
  const texts = new Set<string>();
  const isDue = everyNth(lookedAtOnce);
  for (const map of mapNames) {
    const isValue = eipPlace[map] === "value";
    for (const text of isValue ? elements[map].values() : elements[map].keys()) {
      if (isDue()) yield;
      texts.add(isValue ? text : firstPart(text));
    }
  }
  const eips = new Set<Ip>();
  for (const text of texts) {
    if (isDue()) yield;
    const eip = parse(text);
    if (eip !== undefined) eips.add(eip);
  }
  return eips;
}

export function countElements({ elements }: ObservedTable): number {
  return mapNames.reduce((sum, map) => sum + elements[map].size, 0);
}

/** The number of rules in the definition as read. */
export function countFixedRules({ definition = [] }: ObservedTable): number {
  return definition.filter((line) => line.startsWith("rule ")).length;
}

function firstPart(key: string): string {
  const end = key.indexOf(" ");
  return end < 0 ? key : key.slice(0, end);
}
