/** Addresses and networks as fields of a spec: what no object can name, and the form in which they are stored. */
import type { InputIssue } from "../model/errors.ts";
import { familyOf, parseCidr } from "../model/families.ts";
import type { Cidr, Ip } from "../model/ip.ts";

/** An address that can be no host's is refused. */
export function hostIssues(address: Ip, pointer: string): readonly InputIssue[] {
  return familyOf(address).isUnicast(address)
    ? []
    : [{ pointer, message: `${address} can be no host's address` }];
}

/** A network without a single unicast address is refused. */
export function networkIssues(cidr: Cidr, pointer: string): readonly InputIssue[] {
  return familyOf(cidr).holdsHosts(cidr) ? [] : [{ pointer, message: `${cidr} holds no host's address` }];
}

/** What crossed the wire as a network may have host bits still; the type says what the schema promised. */
export function masked(cidr: Cidr): Cidr {
  const network = parseCidr(cidr);
  if (network === undefined) throw new TypeError(`not a network: ${cidr}`);
  return network;
}
