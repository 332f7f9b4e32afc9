/** `POST /v1/leases/renew`: renews the leases of Eips. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
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
 * Decides on a renewal. Renews every named Eip that is stored; an Eip without a lease is no error. If some are not
 * stored, the others are renewed all the same, so that one deleted Eip does not let all others expire. `refusal` is
 * then `not-found` and names the missing ones in `details.eips`. Throws `not-adopted` or `precondition-failed`.
 */
export function renewLeases(...given: Parameters<typeof renewLeasesChunked>): Decision {
  return runSync(renewLeasesChunked(...given));
}

/** Takes a few milliseconds. */
const renewedAtOnce = 2_000;

/** The same in parts. */
export function* renewLeasesChunked(
  state: State,
  request: RenewLeasesRequest,
  context: WriteContext,
): Chunked<Decision> {
  checkAdopted(context);
  checkIfMatch(state, request.ifMatch);
  const draft = new WriteDraft(state, context);
  const absent: ObjectName[] = [];
  const isDue = everyNth(renewedAtOnce);
  for (const name of new Set(request.eips)) {
    if (isDue()) yield;
    const stored = state.desired.eips.get(name);
    if (stored === undefined) absent.push(name);
    else draft.touch("eip", name);
    if (stored?.spec.leaseSeconds !== undefined) draft.renew(name);
  }
  if (absent.length === 0) return draft.finish();
  const refusal = new GatewayError("not-found", `eip ${absent[0]} does not exist; the others were renewed`, {
    details: { eips: absent.slice(0, 100), eipsTotal: absent.length },
  });
  return draft.finish({ refusal });
}
