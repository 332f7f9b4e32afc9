/** Which addresses are the gateway's own, `self`: whatever is desired, the agent leaves them alone. */

import type { Family } from "../../model/family.ts";
import type { Cidr, Ip } from "../../model/ip.ts";
import type { Ledger } from "../../model/ledger.ts";
import { ledgerIndex } from "../../model/ledger-index.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import type { Place } from "./bindings.ts";

/**
 * The gateway's own addresses. On the VPC's interface and on `lo` these are all that the ledger does not hold;
 * elsewhere it is, per subnet, the first that is neither in the ledger nor named by an owned rule. A narrower
 * subnet inside another counts as part of it, so that a stray /32 beside the gateway's /24 is not taken for its own.
 */
export function ownAddresses(input: {
  readonly observed: ObservedNetwork;
  readonly ledger: Ledger;
  readonly ownedByRules: ReadonlySet<Ip>;
  readonly vpcInterface: InterfaceName;
  readonly family: Family;
}): ReadonlySet<Ip> {
  const { observed, ledger, ownedByRules, vpcInterface } = input;
  const { contains, makeCidr } = input.family;
  const index = ledgerIndex(ledger);
  const unwritten = observed.addresses.filter((address) => !index.has(address));
  /** Of an IP in the ledger, on its interface, another prefix length is not the gateway's own either. */
  const isWritten = (address: Place) =>
    index.of(address.address).some((entry) => entry.interface === address.interface);
  const own = new Set<Ip>();
  const subnets = new Map<InterfaceName, Cidr[]>();
  // A stable sort: within one prefix length the kernel's order stays.
  const widestFirst = unwritten
    .filter((address) => !isWritten(address))
    .toSorted((one, other) => one.prefixLength - other.prefixLength);
  for (const address of widestFirst) {
    if (address.interface === vpcInterface || address.interface === "lo") {
      own.add(address.address);
      continue;
    }
    const taken = subnets.get(address.interface) ?? [];
    if (ownedByRules.has(address.address) || taken.some((subnet) => contains(subnet, address.address)))
      continue;
    own.add(address.address);
    subnets.set(address.interface, [...taken, makeCidr(address.address, address.prefixLength)]);
  }
  return own;
}
