/** The ledger: which addresses are the agent's own work. */
import { OrderedMap } from "../ordered-map.ts";
import { OrderedSet } from "../ordered-set.ts";
import type { Ip } from "./ip.ts";
import type { InterfaceName } from "./names.ts";

/** What the agent put into this namespace, written down before it did. A ledger of another epoch says nothing. */
export interface Ledger {
  /** The namespace's life that the ledger speaks of; empty before the first. */
  readonly epoch: string;
  /** Addresses programmed or adopted, by {@link ledgerKey}. */
  readonly addresses: ReadonlyMap<string, LedgerAddress>;
  /**
   * EIPs that are not held and whose flows may live: those taken out, written before their rules go and forgotten once
   * their flows went, and those that are unbound.
   */
  readonly retired: ReadonlySet<Ip>;
}

export interface LedgerAddress {
  readonly interface: InterfaceName;
  readonly address: Ip;
  readonly prefixLength: number;
}

export function ledgerKey(entry: LedgerAddress): string {
  return `${entry.interface} ${entry.address}/${entry.prefixLength}`;
}

export const emptyLedger: Ledger = {
  epoch: "",
  addresses: OrderedMap.from([]),
  retired: OrderedSet.from([]),
};
