/** What an nftables plan gives the driver to write. */

import type { TableTransaction } from "../../nftables/encode-transaction.ts";
import type { FilterTablesTransaction } from "../../nftables/filter-tables.ts";
import type { NftablesObserved } from "./observed.ts";

export type NftablesStep =
  | { readonly kind: "table"; readonly transaction: TableTransaction }
  | { readonly kind: "filterTables"; readonly transaction: FilterTablesTransaction };

export interface NftablesPayload {
  /** One transaction each, applied in this order. */
  readonly steps: readonly NftablesStep[];
  /** The reading that the plan is based on. The kernel accepts the steps only if nothing changed since. */
  readonly base: NftablesObserved;
}
