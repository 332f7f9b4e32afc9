/** What one reading of netfilter gives, besides the agent's rules. */
import type { Chain } from "../../netfilter/chain.ts";
import type { NftChain, NftTable } from "../../nftables/chains.ts";

export interface NetfilterObserved {
  /** Of nf_tables; everybody's. */
  readonly tables: readonly NftTable[];
  readonly chains: readonly ObservedChain[];
  /** Of all tools, but what is read with the agent's rules. Tables that sleep are left out. */
  readonly foreign: readonly Chain[];
}

export interface ObservedChain extends NftChain {
  /** Where each of its rules leads, whatever it asks for; empty for chains of the agent. */
  readonly targets: readonly (string | undefined)[];
}
