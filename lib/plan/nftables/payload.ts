/** What a plan of nftables gives the driver to write. */
import type { TableTransaction } from "../../nftables/encode-transaction.ts";
import type { NftablesObserved } from "./observed.ts";

export type NftablesStep =
  | { readonly kind: "table"; readonly transaction: TableTransaction }
  /** Input of `nft -f`. */
  | { readonly kind: "barrier"; readonly input: string };

export interface NftablesPayload {
  /** One transaction each, in this order. */
  readonly steps: readonly NftablesStep[];
  /** What was planned on: the kernel takes the steps only while it stands as then. */
  readonly base: NftablesObserved;
}
