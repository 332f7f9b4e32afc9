/** What one reading of a dataplane of nftables gives. */
import type { ObservedBarrier } from "../../nftables/barrier.ts";
import type { ObservedTable } from "./compare.ts";

export interface NftablesObserved {
  readonly table: ObservedTable;
  readonly barrier: ObservedBarrier;
  /** Rules of others, as nft lists them. */
  readonly foreign: readonly string[];
}
