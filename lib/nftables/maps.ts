/**
 * The maps of the table `ip natgw`. Their elements are what an object has in this table; it may also have elements in the
 * guard's sets, an address or a route:
 *
 *     fip_in    EIP                        : internal IP           every FIP
 *     fip_out   internal IP                : EIP                   outward FIPs only
 *     dnat_1    EIP . protocol . port      : IP . port             DNATs with an internal IP
 *     dnat_n    EIP . protocol . port . draw : IP . port           DNATs with a list; a new flow draws one of its backends,
 *                                                              or its client's address decides
 *     snat_r    clients . buckets          : EIP                   source ports at random
 *     snat_p    clients . buckets          : EIP                   the client's port where it is free
 *     hairpin   EIP                        : EIP                   every EIP
 *
 * An element is a key and a value in nft's own words, `203.0.113.3 . udp . 53 . 0x00020000` and `10.0.1.7 . 53`: equal
 * elements are equal texts.
 */
import { tableLabel } from "./family.ts";
import { type Field, field } from "./fields.ts";

/** The table with the NAT rules. Guard and gate have tables of their own. */
export const tableName = "natgw";

export interface ElementMap {
  readonly key: readonly Field[];
  /** Nothing: a set, whose elements have the value `""`. */
  readonly value: readonly Field[];
  /** Keys may contain ranges. No two of them may overlap. */
  readonly isInterval: boolean;
}

const { address, protocol, port, number } = field;
const addressToAddress: ElementMap = { key: [address], value: [address], isInterval: false };
const clients: ElementMap = { key: [address, address], value: [address], isInterval: true };

export const elementMaps = {
  fip_in: addressToAddress,
  fip_out: addressToAddress,
  dnat_1: { key: [address, protocol, port], value: [address, port], isInterval: false },
  dnat_n: { key: [address, protocol, port, number], value: [address, port], isInterval: false },
  snat_r: clients,
  snat_p: clients,
  hairpin: addressToAddress,
} as const satisfies Record<string, ElementMap>;

export type MapName = keyof typeof elementMaps;
export const mapNames = Object.keys(elementMaps) as readonly MapName[];

/** A value for each map. */
export type ByMap<T> = { readonly [K in MapName]: T };

export function byMap<T>(make: (map: MapName) => T): ByMap<T> {
  return {
    fip_in: make("fip_in"),
    fip_out: make("fip_out"),
    dnat_1: make("dnat_1"),
    dnat_n: make("dnat_n"),
    snat_r: make("snat_r"),
    snat_p: make("snat_p"),
    hairpin: make("hairpin"),
  };
}

/** Elements of one map: value by key. */
export type ElementValues = ReadonlyMap<string, string>;
/** A map that does not exist in the kernel is empty here. */
export type Elements = ByMap<ElementValues>;

export const noElements: Elements = byMap(() => new Map());

/** The catch-all element (NFT_SET_ELEM_CATCHALL), as nft writes it. Never ours. */
export const catchAll = "*";

/** A part of a key: one value or a range. */
export function rangeText(first: string | number, last: string | number): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/** Joins the parts of a concatenation as nft does. */
export function concatText(...parts: readonly (string | number)[]): string {
  return parts.join(" . ");
}

/** The element as an nft command has it: `ip natgw fip_in { 203.0.113.10 : 10.0.1.5 }`. */
export function elementText(map: MapName, key: string, value: string): string {
  return `${tableLabel(tableName)} ${map} { ${key} : ${value} }`;
}
