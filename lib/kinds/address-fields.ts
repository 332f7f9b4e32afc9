/** Addresses and networks as fields of a spec: what no object can name, and the form in which they are stored. */
import type { InputIssue } from "../model/errors.ts";
import {
  addressOf,
  type Cidr,
  type Ip,
  isUnicast,
  makeCidr,
  parseCidr,
  prefixLengthOf,
  toU32,
} from "../model/ip.ts";

/** An address that can be no host's is refused. */
export function hostIssues(address: Ip, pointer: string): readonly InputIssue[] {
  return isUnicast(address) ? [] : [{ pointer, message: `${address} can be no host's address` }];
}

/** A network without a single unicast address is refused; 0.0.0.0/0 and its halves hold plenty. */
export function networkIssues(cidr: Cidr, pointer: string): readonly InputIssue[] {
  const prefixLength = prefixLengthOf(cidr);
  const network = addressOf(makeCidr(addressOf(cidr), prefixLength));
  const holdsHosts = isUnicast(network) || (prefixLength < 8 && toU32(network) < firstMulticast);
  return holdsHosts ? [] : [{ pointer, message: `${cidr} holds no host's address` }];
}

const firstMulticast = 0xe0000000;

/** What crossed the wire as a network may have host bits still; the type says what the schema promised. */
export function masked(cidr: Cidr): Cidr {
  const network = parseCidr(cidr);
  if (network === undefined) throw new TypeError(`not a network: ${cidr}`);
  return network;
}
