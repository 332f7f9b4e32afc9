/**
 * IP addresses, networks and interface addresses as value types, for all families.
 *
 * All three are canonical branded strings: equal values are equal strings, so they serve as map keys, JSON and log
 * fields. Only the parsers of a family (`family.ts`) create them, and only the family calculates with them. The
 * functions here use only the text.
 */

declare const brand: unique symbol;

/** A canonical address, `"10.0.1.5"`. */
export type Ip = string & { readonly [brand]: "Ip" };
/** A network with its host bits masked, `"10.0.0.0/16"`. */
export type Cidr = string & { readonly [brand]: "Cidr" };
/** An address with the prefix length of its subnet, host bits kept, `"203.0.113.10/24"`. */
export type InterfaceAddress = string & { readonly [brand]: "InterfaceAddress" };

/** An address in its subnet. `prefixLength` must be valid for its family. */
export function makeInterfaceAddress(address: Ip, prefixLength: number): InterfaceAddress {
  return `${address}/${prefixLength}` as InterfaceAddress;
}

/** The address part of a network or an interface address. */
export function addressOf(cidr: Cidr | InterfaceAddress): Ip {
  return cidr.slice(0, cidr.indexOf("/")) as Ip;
}

/** The prefix length: from 0 to the bits of an address. */
export function prefixLengthOf(cidr: Cidr | InterfaceAddress): number {
  return Number(cidr.slice(cidr.indexOf("/") + 1));
}
