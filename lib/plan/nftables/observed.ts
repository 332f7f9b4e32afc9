/** The result of one reading of an nftables dataplane. */
import type { ObservedBarrier } from "../../nftables/barrier.ts";
import type { ObservedTable } from "./compare.ts";

export interface NftablesObserved {
  readonly table: ObservedTable;
  readonly barrier: ObservedBarrier;
  /** Rules of other tables, as nft lists them. */
  readonly foreign: readonly string[];
}
