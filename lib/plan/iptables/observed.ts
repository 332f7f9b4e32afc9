/** The result of one reading of an iptables dataplane. */
import type { RuleDump } from "../../iptables/save.ts";
import type { ObservedBackends } from "../../nftables/backends.ts";
import type { ObservedFilterTables } from "../../nftables/filter-tables.ts";

export interface IptablesObserved {
  readonly variant: "nft" | "legacy";
  readonly rules: RuleDump;
  /** The nftables tables of guard and gate; `undefined` where there is no nft, and they are chains of the filter table. */
  readonly filterTables: ObservedFilterTables | undefined;
  /** The nftables table of DNATs with several backends; absent where there is no nft, and they are rules of SHARED_DNAT. */
  readonly backends?: ObservedBackends | undefined;
}
