/** Checks and canonical forms for addresses, networks and interfaces in a spec. */
import type { InputIssue } from "../model/errors.ts";
import { familyOf, parseCidr } from "../model/families.ts";
import type { Cidr, Ip } from "../model/ip.ts";
import { type InterfaceName, reservedInterface } from "../model/names.ts";

/** Refuses an address that no host can have. */
export function hostIssues(address: Ip, pointer: string): readonly InputIssue[] {
  return familyOf(address).isUnicast(address)
    ? []
    : [{ pointer, message: `${address} is not a valid host address` }];
}

/** Refuses an interface that no gateway has. */
export function interfaceIssues(name: InterfaceName | undefined, pointer: string): readonly InputIssue[] {
  const message = name === undefined ? undefined : reservedInterface(name);
  return message === undefined ? [] : [{ pointer, message }];
}

/** Refuses a network without any unicast address. */
export function networkIssues(cidr: Cidr, pointer: string): readonly InputIssue[] {
  return familyOf(cidr).holdsHosts(cidr) ? [] : [{ pointer, message: `${cidr} contains no host address` }];
}

/** A network with its host bits masked. Schema-checked text may still have host bits set. */
export function masked(cidr: Cidr): Cidr {
  const network = parseCidr(cidr);
  if (network === undefined) throw new TypeError(`not a network: ${cidr}`);
  return network;
}
