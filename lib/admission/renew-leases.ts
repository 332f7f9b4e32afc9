/** `POST /v1/leases/renew`: a sign of life for Eips with a lease. */
import type { ObjectName } from "../model/names.ts";
import type { State } from "./state.ts";
import type { Decision, IfMatch, WriteContext } from "./writes.ts";

export interface RenewLeasesRequest {
  readonly eips: readonly ObjectName[];
  readonly ifMatch?: IfMatch | undefined;
}

/**
 * Renews every named Eip that is stored, whether it has a lease or not. Where some are not stored the rest is
 * renewed all the same and the decision's `refusal` is `not-found`, naming them in `details.eips`: one Eip deleted a
 * moment ago must not let all others run out.
 */
export function renewLeases(state: State, request: RenewLeasesRequest, context: WriteContext): Decision {
  throw new TypeError(`not built yet: ${state} ${request} ${context}`);
}
