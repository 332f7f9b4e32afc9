/** The result of one reading of netfilter, without the agent's rules. */
import type { Chain } from "../../netfilter/chain.ts";
import type { NftChain, NftTable } from "../../nftables/chains.ts";

export interface NetfilterObserved {
  /** All tables of nf_tables, of any owner. */
  readonly tables: readonly NftTable[];
  readonly chains: readonly ObservedChain[];
  /** Chains of all tools, without those read with the agent's rules. Dormant tables are left out. */
  readonly foreign: readonly Chain[];
  /**
   * The agent's own chains and tables of dataplanes that are not in use, as text that differs if they may differ. Absent:
   * none.
   */
  readonly leftovers?: readonly string[];
}

export interface ObservedChain extends NftChain {
  /** The jump target of each rule, whatever its conditions. Empty for chains of the agent. */
  readonly targets: readonly (string | undefined)[];
}
