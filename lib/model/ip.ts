/**
 * IP addresses, networks and interface addresses as value types, of whatever family.
 *
 * All three are canonical strings under a brand: equal values are equal strings, so they are map keys, JSON
 * and log fields as they are. Only the parsers of a family (`family.ts`) mint them, and only it calculates with them; what stands
 * here looks at the text alone.
 */

declare const brand: unique symbol;

/** A canonical address, `"10.0.1.5"`. */
export type Ip = string & { readonly [brand]: "Ip" };
/** A network with its host bits masked, `"10.0.0.0/16"`. */
export type Cidr = string & { readonly [brand]: "Cidr" };
/** An address with the prefix length of its subnet, host bits kept, `"203.0.113.10/24"`. */
export type InterfaceAddress = string & { readonly [brand]: "InterfaceAddress" };

/** An address in its subnet; `prefixLength` is one of its family's. */
export function makeInterfaceAddress(address: Ip, prefixLength: number): InterfaceAddress {
  return `${address}/${prefixLength}` as InterfaceAddress;
}

/** The address part of a network or an interface address. */
export function addressOf(cidr: Cidr | InterfaceAddress): Ip {
  return cidr.slice(0, cidr.indexOf("/")) as Ip;
}

/** The prefix length: 0 to the bits of an address. */
export function prefixLengthOf(cidr: Cidr | InterfaceAddress): number {
  return Number(cidr.slice(cidr.indexOf("/") + 1));
}
