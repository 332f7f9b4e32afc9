/** What to do with the addresses and routes that bind EIPs. */

import type { Ip } from "../model/ip.ts";
import type { LedgerAddress } from "../model/ledger.ts";
import type { ObjectId } from "../model/names.ts";

/** How the gateway holds an EIP. */
export type Binding = "address" | "route";

export interface AddressStep {
  readonly kind: "add" | "remove";
  readonly binding: Binding;
  /** A binding route is always for a single address, whatever prefix length the entry has. */
  readonly entry: LedgerAddress;
  /**
   * The address is there, and only its route in the local table is missing: the step adds it again, with this source, as the
   * kernel has it. Then the kernel removes it together with the address.
   */
  readonly routeSource?: Ip;
  /** The Eip that needs the step. For a removal: the Eip that is to be bound another way. */
  readonly object?: ObjectId;
}

export interface AddressPlan {
  /**
   * Apply these before {@link remove}. Then an EIP that changes its prefix length or its binding stays local all the
   * time.
   */
  readonly add: readonly AddressStep[];
  readonly remove: readonly AddressStep[];
  /** The gateway's own addresses, `self`. An Eip with one of them gets no step. */
  readonly own: ReadonlySet<Ip>;
  /** Addresses that nothing explains. They are reported and never removed without a request. */
  readonly orphans: readonly LedgerAddress[];
  /** Present and the agent's, but not in the ledger yet. Add them to the ledger before any rule or address changes. */
  readonly ledgerMissing: readonly LedgerAddress[];
  /** In the ledger, but no longer desired and no longer present with any prefix length. Remove them from the ledger. */
  readonly ledgerStale: readonly LedgerAddress[];
  /** Eips that keep an address beside their route because it is the only address on its interface. */
  readonly anchors: readonly ObjectId[];
  /** The gateway's own addresses on its interfaces that the kernel does not answer ARP for. Absent: none. */
  readonly unanswered?: readonly LedgerAddress[];
  /** True if the VPC's interface is there and has no address at all. Absent: false. */
  readonly isVpcBare?: boolean;
  /** What cannot be done in the observed state, and why. */
  readonly blocked: readonly BlockedAddress[];
}

export interface BlockedAddress {
  readonly object?: ObjectId;
  readonly entry: LedgerAddress;
  readonly code: "interface-missing" | "promote-secondaries-off";
  readonly message: string;
}
