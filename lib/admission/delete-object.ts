/** `DELETE /v1/{kind}s/{name}`: removes one object, an Eip with its users where asked to. */

import { usersOf } from "../compile/references.ts";
import { GatewayError } from "../model/errors.ts";
import { type Kind, type ObjectName, objectId, parseObjectId, type Uid } from "../model/names.ts";
import { objectsOf } from "../state/desired.ts";
import type { State } from "../state/state.ts";
import { rejectInUse } from "./conflicts.ts";
import { WriteDraft } from "./draft.ts";
import { checkAdopted, checkIfMatch, type Decision, type IfMatch, type WriteContext } from "./writes.ts";

export interface DeleteObjectRequest {
  readonly kind: Kind;
  readonly name: ObjectName;
  /** The life that is to end, `?uid=`; remembered as deleted whether or not it is stored. */
  readonly uid?: Uid | undefined;
  /** Takes an Eip's users along, `?cascade=true`. */
  readonly isCascading?: boolean | undefined;
  readonly ifMatch?: IfMatch | undefined;
}

/**
 * Decides on the removal of one object. A delete never brings a clash into judgement: what it frees goes to the
 * eldest that asks for it. Throws `not-adopted`, `precondition-failed` or `in-use`.
 *
 * The `refusal` is `not-found` where there is no such object, and `conflict` where the stored one has another uid or
 * none; a uid that was given is remembered even then, since its create may still be under way.
 */
export function deleteObject(state: State, request: DeleteObjectRequest, context: WriteContext): Decision {
  const { kind, name, uid } = request;
  checkAdopted(context);
  checkIfMatch(state, request.ifMatch);
  const draft = new WriteDraft(state, context);
  const refusal = refusalOf(state, request);
  if (refusal !== undefined) {
    if (uid !== undefined) draft.remember(kind, uid);
    return draft.finish({ refusal });
  }
  if (kind === "eip") {
    const eips = new Set([name]);
    if (request.isCascading !== true) rejectInUse(state.desired, eips);
    for (const user of usersOf(state.desired, eips)) {
      const { kind, name } = parseObjectId(user);
      draft.remove(kind, name);
    }
  }
  draft.remove(kind, name);
  return draft.finish();
}

function refusalOf(state: State, { kind, name, uid }: DeleteObjectRequest): GatewayError | undefined {
  const object = objectId(kind, name);
  const stored = objectsOf(state.desired, kind).get(name);
  if (stored === undefined)
    return new GatewayError("not-found", `there is no ${object}`, { details: { object } });
  if (uid === undefined || uid === stored.spec.uid) return undefined;
  const has = stored.spec.uid === undefined ? "no uid" : `uid ${stored.spec.uid}`;
  return new GatewayError("conflict", `${object} has ${has}`, { details: { object, uid: stored.spec.uid } });
}
