/** Finds the gateway's own addresses, `self`. The agent never changes them. */

import { type Chunked, everyNth, filterChunked, runSync, sortChunked } from "../../chunked.ts";
import type { Family } from "../../model/family.ts";
import type { Cidr, Ip } from "../../model/ip.ts";
import type { Ledger } from "../../model/ledger.ts";
import { ledgerIndex } from "../../model/ledger-index.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork } from "../../model/observed.ts";
import type { Place } from "./bindings.ts";

/**
 * The gateway's own addresses. On the VPC interface and on `lo`: all that are not in the ledger. On other interfaces:
 * per subnet, the first one that is neither in the ledger nor named by an owned rule. A narrower subnet inside another
 * counts as part of it, so a stray /32 beside the gateway's /24 is not taken for its own.
 */
export function ownAddresses(input: OwnAddressesInput): ReadonlySet<Ip> {
  return runSync(ownAddressesChunked(input));
}

export interface OwnAddressesInput {
  readonly observed: ObservedNetwork;
  readonly ledger: Ledger;
  readonly ownedByRules: ReadonlySet<Ip>;
  readonly vpcInterface: InterfaceName;
  readonly family: Family;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

/** The same in parts. */
export function* ownAddressesChunked(input: OwnAddressesInput): Chunked<ReadonlySet<Ip>> {
  const { observed, ledger, ownedByRules, vpcInterface } = input;
  const { makeCidr } = input.family;
  const index = yield* ledgerIndex(ledger);
  /** If the ledger has the IP on this interface, it is not the gateway's own with another prefix length either. */
  const isWritten = (address: Place) =>
    index.of(address.address).some((entry) => entry.interface === address.interface);
  const own = new Set<Ip>();
  const subnets = new Map<InterfaceName, Map<number, Set<Cidr>>>();
  // The sort is stable: within one prefix length the order of the kernel stays.
  const unwritten = yield* filterChunked(
    observed.addresses,
    lookedAtOnce,
    (address) => !index.has(address) && !isWritten(address),
  );
  const widestFirst = yield* sortChunked(unwritten, (one, other) => one.prefixLength - other.prefixLength);
  const isDue = everyNth(lookedAtOnce);
  for (const address of widestFirst) {
    if (isDue()) yield;
    if (address.interface === vpcInterface || address.interface === "lo") {
      own.add(address.address);
      continue;
    }
    const taken = subnets.get(address.interface) ?? new Map<number, Set<Cidr>>();
    subnets.set(address.interface, taken);
    const isIn = ([length, cidrs]: readonly [number, ReadonlySet<Cidr>]) =>
      cidrs.has(makeCidr(address.address, length));
    if (ownedByRules.has(address.address) || taken.entries().some(isIn)) continue;
    own.add(address.address);
    const alike = taken.get(address.prefixLength) ?? new Set();
    taken.set(address.prefixLength, alike.add(makeCidr(address.address, address.prefixLength)));
  }
  return own;
}
