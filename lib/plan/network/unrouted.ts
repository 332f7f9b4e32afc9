/** Addresses whose route in the local table was removed by hand: the kernel answers no ARP for them. */
import { familyOf } from "../../model/families.ts";
import type { Ip } from "../../model/ip.ts";
import type { LedgerAddress } from "../../model/ledger.ts";
import { isSameEntry } from "../../model/ledger-index.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedAddress, ObservedNetwork } from "../../model/observed.ts";
import type { Program, ProgramEip } from "../../model/program.ts";
import type { AddressStep } from "../address-plan.ts";

/** For EIPs that are bound by an address whose route in the local table was removed. */
export function routeRepairs(
  { addresses, unrouted = [] }: ObservedNetwork,
  desired: ReadonlyMap<Ip, ProgramEip>,
  present: ReadonlySet<Ip>,
): readonly AddressStep[] {
  if (unrouted.length === 0) return [];
  const primaries = new Map(
    addresses.filter((one) => !one.isSecondary).map((one) => [subnetKey(one), one.address]),
  );
  return unrouted.flatMap((address): readonly AddressStep[] => {
    const eip = desired.get(address.address);
    if (eip === undefined || !present.has(eip.address) || !isSameEntry(eip, address)) return [];
    // The kernel gives the routes of secondary addresses the primary one as source.
    const routeSource = primaries.get(subnetKey(address)) ?? address.address;
    return [{ kind: "add", binding: "address", entry: entryOf(address), routeSource, object: eip.id }];
  });
}

/** Own addresses of the gateway on its interfaces whose route in the local table was removed. */
export function unansweredOf(
  { vpcInterface, externalInterface, eips }: Program,
  unrouted: readonly ObservedAddress[],
  own: ReadonlySet<Ip>,
): readonly LedgerAddress[] {
  const names = new Set([vpcInterface, externalInterface, ...eips.map((eip) => eip.interface)]);
  return unrouted.filter((one) => own.has(one.address) && names.has(one.interface)).map(entryOf);
}

/** True if the interface is there and has no address. */
export function isBare(name: InterfaceName, { links, addresses }: ObservedNetwork): boolean {
  return links.some((link) => link.name === name) && !addresses.some((one) => one.interface === name);
}

function subnetKey({ interface: name, address, prefixLength }: ObservedAddress): string {
  return `${familyOf(address).makeCidr(address, prefixLength)} ${name}`;
}

function entryOf({ interface: name, address, prefixLength }: ObservedAddress): LedgerAddress {
  return { interface: name, address, prefixLength };
}
