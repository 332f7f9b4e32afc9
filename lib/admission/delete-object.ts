/** `DELETE /v1/{kind}s/{name}`: removes one object, or an Eip together with its users. */

import { type Chunked, everyNth, runSync } from "../chunked.ts";
import { usersOfChunked } from "../compile/references.ts";
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
  /** `?uid=`: the uid to delete. It is remembered as deleted whether or not it is stored. */
  readonly uid?: Uid | undefined;
  /** `?cascade=true`: also removes the users of an Eip. */
  readonly isCascading?: boolean | undefined;
  readonly ifMatch?: IfMatch | undefined;
}

/**
 * Decides on the removal of one object. A delete never fails because of a clash: what it frees goes to the oldest
 * object that claims it. Throws `not-adopted`, `precondition-failed` or `in-use`.
 *
 * `refusal` is `not-found` if the object does not exist, and `conflict` if the stored object has another uid or none.
 * Even then a given uid is remembered, because the create for it may still be on its way.
 */
export function deleteObject(...given: Parameters<typeof deleteObjectChunked>): Decision {
  return runSync(deleteObjectChunked(...given));
}

/** Takes a few milliseconds. */
const removedAtOnce = 2_000;

/** The same in parts. */
export function* deleteObjectChunked(
  state: State,
  request: DeleteObjectRequest,
  context: WriteContext,
): Chunked<Decision> {
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
    if (request.isCascading !== true) yield* rejectInUse(state.desired, eips);
    const isDue = everyNth(removedAtOnce);
    for (const user of yield* usersOfChunked(state.desired, eips)) {
      if (isDue()) yield;
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
    return new GatewayError("not-found", `${object} does not exist`, { details: { object } });
  if (uid === undefined || uid === stored.spec.uid) return undefined;
  const has = stored.spec.uid === undefined ? "no uid" : `uid ${stored.spec.uid}`;
  return new GatewayError("conflict", `${object} has ${has}`, { details: { object, uid: stored.spec.uid } });
}
