/** The result of one reading of an nftables dataplane. */
import type { ObservedFilterTables } from "../../nftables/filter-tables.ts";
import type { ObservedTable } from "./compare.ts";

export interface NftablesObserved {
  readonly table: ObservedTable;
  readonly filterTables: ObservedFilterTables;
  /** Rules of other tables, as nft lists them. */
  readonly foreign: readonly string[];
}
