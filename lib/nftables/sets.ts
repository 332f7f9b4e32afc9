/**
 * The sets of the guard's table, beside the maps of NAT: what the guard knows of objects.
 *
 *     fips       internal IP                     every FIP
 *     backends   IP . protocol . port            what DNATs lead to: their replies come from there
 *     clients    network . netmask               the CIDRs of SNATs; overlapping CIDRs cannot conflict here
 *     eips       EIP                             every EIP that rules may name
 */

import { tableLabel } from "./family.ts";
import { field } from "./fields.ts";
import { filterTableNames } from "./filter-table-names.ts";
import { type ElementMap, type ElementValues, elementMaps, type MapName, tableName } from "./maps.ts";

const { address, protocol, port } = field;

export const guardSets = {
  fips: { key: [address], value: [], isInterval: false },
  backends: { key: [address, protocol, port], value: [], isInterval: false },
  clients: { key: [address, address], value: [], isInterval: false },
  eips: { key: [address], value: [], isInterval: false },
} as const satisfies Record<string, ElementMap>;

export type GuardSet = keyof typeof guardSets;
export const guardSetNames = Object.keys(guardSets) as readonly GuardSet[];

/** Something for each of the guard's sets. */
export type ByGuardSet<T> = { readonly [K in GuardSet]: T };

export function byGuardSet<T>(make: (set: GuardSet) => T): ByGuardSet<T> {
  return { fips: make("fips"), backends: make("backends"), clients: make("clients"), eips: make("eips") };
}

/** Elements of the guard's sets. A set that the kernel lacks is empty. */
export type GuardElements = ByGuardSet<ElementValues>;

export const noGuardElements: GuardElements = byGuardSet(() => new Map());

/** A map of NAT or a set of the guard: what elements are in. */
export type SetName = MapName | GuardSet;

export const elementSets: { readonly [K in SetName]: ElementMap } = { ...elementMaps, ...guardSets };

export function isGuardSet(name: SetName): name is GuardSet {
  return name in guardSets;
}

/** The table of family ip that it is in. */
export function tableHolding(name: SetName): string {
  return isGuardSet(name) ? filterTableNames.guard : tableName;
}

/** As one would type it: `ip natgw_guard fips { 10.0.1.5, 10.0.1.6 }`. Beyond a handful the rest is counted. */
export function guardElementsText(set: GuardSet, keys: readonly string[]): string {
  const spelt = smallest(keys, maxSpelt);
  if (keys.length > maxSpelt) spelt.push(`… ${keys.length - maxSpelt} more`);
  return `${tableLabel(filterTableNames.guard)} ${set} { ${spelt.join(", ")} }`;
}

const maxSpelt = 8;

/** The first of the sorted texts. Sorting all of tens of thousands takes too long. */
function smallest(texts: readonly string[], count: number): string[] {
  const found: string[] = [];
  for (const text of texts) {
    const last = found[count - 1];
    if (last !== undefined && text >= last) continue;
    found.push(text);
    found.sort();
    if (found.length > count) found.pop();
  }
  return found;
}
