/** What becomes of the addresses that bind EIPs. */

import type { Ip } from "../model/ip.ts";
import type { LedgerAddress } from "../model/ledger.ts";
import type { ObjectId } from "../model/names.ts";

/** How the gateway comes to hold an EIP. */
export type Binding = "address" | "route";

export interface AddressStep {
  readonly kind: "add" | "remove";
  readonly binding: Binding;
  /** A route is to the one address, whatever prefix length is said here. */
  readonly entry: LedgerAddress;
  /** The Eip that asks for it; of what goes the one that is to have the IP bound otherwise. */
  readonly object?: ObjectId;
}

export interface AddressPlan {
  /** To be applied before {@link remove}, so that an EIP that changes its prefix length or its binding stays local throughout. */
  readonly add: readonly AddressStep[];
  readonly remove: readonly AddressStep[];
  /** The gateway's own addresses, `self`. An Eip that names one gets no step. */
  readonly own: ReadonlySet<Ip>;
  /** Addresses that nobody answers for: shown, and never removed unasked. */
  readonly orphans: readonly LedgerAddress[];
  /** Present and the agent's, but not written down yet. To be added to the ledger before any rule or address changes. */
  readonly ledgerMissing: readonly LedgerAddress[];
  /** Written down, but neither desired nor, with any prefix length, present any more. To be taken out of the ledger. */
  readonly ledgerStale: readonly LedgerAddress[];
  /** Eips that have an address beside their route, since it is the only one on its interface. */
  readonly anchors: readonly ObjectId[];
  /** What cannot be done on what was observed, and why. */
  readonly blocked: readonly BlockedAddress[];
}

export interface BlockedAddress {
  readonly object?: ObjectId;
  readonly entry: LedgerAddress;
  readonly code: "interface-missing" | "promote-secondaries-off";
  readonly message: string;
}
