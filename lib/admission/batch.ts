/** `POST /v1/batch`: deletes, then upserts. All or nothing, judged by the resulting set. */

import { type Chunked, everyNth, runSync } from "../chunked.ts";
import { recordOf } from "../kinds/registry.ts";
import {
  collectionOf,
  kinds,
  type ObjectId,
  type ObjectName,
  objectId,
  parseObjectId,
} from "../model/names.ts";
import { objectsOf } from "../state/desired.ts";
import { reduceChunked } from "../state/reduce.ts";
import type { State } from "../state/state.ts";
import { rejectInUse, rejectNewClashes } from "./conflicts.ts";
import { WriteDraft } from "./draft.ts";
import { checkBatch } from "./input.ts";
import { type Batch, specsIn } from "./requests.ts";
import { rejectGone } from "./uids.ts";
import { checkAdopted, checkIfMatch, type Decision, type IfMatch, type WriteContext } from "./writes.ts";

export interface BatchRequest {
  /** Must match the schema. */
  readonly batch: Batch;
  readonly ifMatch?: IfMatch | undefined;
}

/**
 * Decides on a batch. Deletes of absent objects are ignored. A name that is both deleted and upserted is a new object:
 * it is the newest and needs another uid, if any, because the old uid is deleted. Throws `invalid`, `not-adopted`,
 * `precondition-failed`, `gone`, `in-use` or `conflict`.
 */
export function applyBatch(...given: Parameters<typeof applyBatchChunked>): Decision {
  return runSync(applyBatchChunked(...given));
}

/** Takes a few milliseconds. One object can have hundreds of backends. */
const writtenAtOnce = 1_000;

/** The same in parts. */
export function* applyBatchChunked(
  state: State,
  request: BatchRequest,
  context: WriteContext,
): Chunked<Decision> {
  const { batch } = request;
  yield* checkBatch(batch);
  checkAdopted(context);
  checkIfMatch(state, request.ifMatch);
  const draft = new WriteDraft(state, context);
  const isDue = everyNth(writtenAtOnce);
  for (const kind of kinds)
    for (const name of new Set(batch.delete?.[collectionOf(kind)])) {
      if (isDue()) yield;
      if (objectsOf(state.desired, kind).has(name)) draft.remove(kind, name);
    }

  const gone: ObjectId[] = [];
  for (const kind of kinds) {
    for (const spec of specsIn(batch.upsert ?? {}, kind)) {
      if (isDue()) yield;
      if (draft.isGone(kind, spec.uid)) gone.push(objectId(kind, spec.name));
      draft.put(kind, recordOf(kind).canonical(spec));
    }
  }
  rejectGone(gone);

  const decision = draft.finish();
  const after = (yield* reduceChunked(state, decision.changes)).desired;
  yield* rejectInUse(after, eipsIn(decision.removed));
  yield* rejectNewClashes(state.desired, after, decision, context.facts);
  return decision;
}

function eipsIn(ids: readonly ObjectId[]): ReadonlySet<ObjectName> {
  const eips = new Set<ObjectName>();
  for (const id of ids) {
    const { kind, name } = parseObjectId(id);
    if (kind === "eip") eips.add(name);
  }
  return eips;
}
