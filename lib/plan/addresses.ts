/** Plans the EIPs' addresses on their interfaces. */
import type { LedgerAddress } from "../admission/state.ts";
import type { ObjectId } from "../model/names.ts";

export interface AddressStep {
  readonly kind: "add" | "remove";
  readonly entry: LedgerAddress;
  /** The Eip that asks for it; absent for what goes. */
  readonly object?: ObjectId;
}
