/** `POST /v1/leases/renew`: a sign of life for Eips with a lease. */
import { GatewayError } from "../model/errors.ts";
import type { ObjectName } from "../model/names.ts";
import type { State } from "../state/state.ts";
import { WriteDraft } from "./draft.ts";
import { checkAdopted, checkIfMatch, type Decision, type IfMatch, type WriteContext } from "./writes.ts";

export interface RenewLeasesRequest {
  readonly eips: readonly ObjectName[];
  readonly ifMatch?: IfMatch | undefined;
}

/**
 * Decides on a renewal: every named Eip that is stored is renewed; one without a lease has nothing to renew, which is
 * no fault. Where some are not stored the rest is renewed all the same and the `refusal` is `not-found`, naming them in
 * `details.eips`: one Eip deleted a moment ago must not let all others run out. Throws `not-adopted` or
 * `precondition-failed`.
 */
export function renewLeases(state: State, request: RenewLeasesRequest, context: WriteContext): Decision {
  checkAdopted(context);
  checkIfMatch(state, request.ifMatch);
  const draft = new WriteDraft(state, context);
  const absent: ObjectName[] = [];
  for (const name of new Set(request.eips)) {
    const stored = state.desired.eips.get(name);
    if (stored === undefined) absent.push(name);
    else draft.touch("eip", name);
    if (stored?.spec.leaseSeconds !== undefined) draft.renew(name);
  }
  if (absent.length === 0) return draft.finish();
  const refusal = new GatewayError("not-found", `there is no eip ${absent[0]}; the others were renewed`, {
    details: { eips: absent.slice(0, 100), eipsTotal: absent.length },
  });
  return draft.finish({ refusal });
}
