/** The subnets that the gateway is in. */
import { type Chunked, forEachChunked } from "../chunked.ts";
import type { Family } from "../model/family.ts";
import { type Cidr, prefixLengthOf } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";

/** A subnet of an interface of the gateway. */
export interface Subnet {
  readonly interface: InterfaceName;
  readonly cidr: Cidr;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/** The subnets of the gateway's addresses, each once, longest first. Thousands of EIPs are in few subnets. */
export function* subnetsOf({ addresses }: ObservedNetwork, family: Family): Chunked<readonly Subnet[]> {
  const subnets = new Map<string, Subnet>();
  yield* forEachChunked(addresses, lookedAtOnce, ({ interface: name, address, prefixLength }) => {
    if (prefixLength === family.bits) return;
    const cidr = family.makeCidr(address, prefixLength);
    subnets.set(`${name} ${cidr}`, { interface: name, cidr });
  });
  return [...subnets.values()].sort((one, other) => prefixLengthOf(other.cidr) - prefixLengthOf(one.cidr));
}
