/** The ledger: which addresses the agent put into the kernel. */
import { OrderedMap } from "../ordered-map.ts";
import { OrderedSet } from "../ordered-set.ts";
import type { Ip } from "./ip.ts";
import type { InterfaceName } from "./names.ts";

/** What the agent put into this namespace, recorded before it did. A ledger of another epoch says nothing. */
export interface Ledger {
  /** The epoch that the ledger describes. Empty before the first. */
  readonly epoch: string;
  /** Addresses that were programmed or adopted, by {@link ledgerKey}. */
  readonly addresses: ReadonlyMap<string, LedgerAddress>;
  /**
   * EIPs that are not held but may have live flows: unbound EIPs, and removed EIPs, which are recorded before their
   * rules are removed and forgotten when their flows are gone.
   */
  readonly retired: ReadonlySet<Ip>;
}

export interface LedgerAddress {
  readonly interface: InterfaceName;
  readonly address: Ip;
  readonly prefixLength: number;
}

export function ledgerKey({ interface: name, address, prefixLength }: LedgerAddress): string {
  // Joined: V8 keeps a text made by + in pieces, which take more memory than the text.
  return [name, " ", address, "/", prefixLength].join("");
}

export const emptyLedger: Ledger = {
  epoch: "",
  addresses: OrderedMap.from([]),
  retired: OrderedSet.from([]),
};
