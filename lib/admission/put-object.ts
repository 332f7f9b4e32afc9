/** `PUT /v1/{kind}s/{name}`: creates or replaces one object. */

import { type Chunked, runSync } from "../chunked.ts";
import { recordOf, type SpecOf } from "../kinds/registry.ts";
import { type Kind, objectId } from "../model/names.ts";
import { reduce } from "../state/reduce.ts";
import type { State } from "../state/state.ts";
import { rejectNewClashes } from "./conflicts.ts";
import { WriteDraft } from "./draft.ts";
import { checkSpec } from "./input.ts";
import { rejectGone } from "./uids.ts";
import {
  checkAdopted,
  checkIfMatch,
  checkIfNoneMatch,
  type Decision,
  type Preconditions,
  type WriteContext,
} from "./writes.ts";

export interface PutObjectRequest<K extends Kind = Kind> extends Preconditions {
  readonly kind: K;
  /** Must match the schema and have the name of the path. */
  readonly spec: SpecOf[K];
}

/**
 * Decides on a PUT of one object. A replaced object keeps its creation number, also with a new uid; the old uid is
 * remembered as deleted. Throws `invalid`, `not-adopted`, `precondition-failed`, `gone` or `conflict`.
 */
export function putObject(...given: Parameters<typeof putObjectChunked>): Decision {
  return runSync(putObjectChunked(...given));
}

/** The same in parts: it looks for clashes among all objects of the kind. */
export function* putObjectChunked(
  state: State,
  request: PutObjectRequest,
  context: WriteContext,
): Chunked<Decision> {
  const { kind, spec } = request;
  checkSpec(kind, spec);
  checkAdopted(context);
  checkIfMatch(state, request.ifMatch);
  checkIfNoneMatch(state, objectId(kind, spec.name), request.ifNoneMatch);
  const draft = new WriteDraft(state, context);
  if (draft.isGone(kind, spec.uid)) rejectGone([objectId(kind, spec.name)]);
  draft.put(kind, recordOf(kind).canonical(spec));
  const decision = draft.finish();
  yield* rejectNewClashes(state.desired, reduce(state, decision.changes).desired, decision, context.facts);
  return decision;
}
