/** `PUT /v1/desired`: replaces the whole set. */
import type { Chunked } from "../chunked.ts";
import { GatewayError } from "../model/errors.ts";
import { kinds, type ObjectId, objectId } from "../model/names.ts";
import { objectsOf } from "../state/desired.ts";
import type { State } from "../state/state.ts";
import { type CanonicalSet, canonicalFullSet, contentText } from "./canonical.ts";
import { WriteDraft } from "./draft.ts";
import { checkFullSet } from "./input.ts";
import type { FullSet } from "./requests.ts";
import { isGone, rejectGone, tombstoneKey } from "./uids.ts";
import { checkIfMatch, type Decision, type IfMatch, type WriteContext } from "./writes.ts";

export interface FullSetRequest {
  readonly set: CheckedSet;
  readonly ifMatch?: IfMatch | undefined;
}

/** A set of which all was said that needs no state to be held against. */
export interface CheckedSet {
  /** In canonical form. */
  readonly canonical: CanonicalSet;
  /** Of its content, whatever the order and the generation. */
  readonly digest: string;
}

/**
 * Checks a set and puts it into canonical form: half of what a set of thousands costs, and done before its turn to be
 * decided on. Yields between its parts. Throws `invalid`.
 *
 * @param set schema-checked
 * @param digest as in {@link WriteContext}
 */
export function* checkSet(set: FullSet, digest: WriteContext["digest"]): Chunked<CheckedSet> {
  // Its schema was checked a moment ago.
  yield;
  checkFullSet(set);
  yield;
  const canonical = canonicalFullSet(set);
  yield;
  return { canonical, digest: digest(contentText(canonical)) };
}

/**
 * Decides on a full set. Clashes inside are admitted: the elder is programmed, the younger marked. Objects keep their
 * creation number by name, and their revision where nothing of them changes. Throws `precondition-failed`,
 * `stale-generation` or `gone`.
 *
 * An `If-Match` that names the present revision proves that the writer has seen it, so that nothing in the set is late:
 * it admits any generation, and uids that were deleted live again, as they do for a controller restored from a backup.
 */
export function putFullSet(state: State, request: FullSetRequest, context: WriteContext): Decision {
  const { canonical: set, digest } = request.set;
  const last = state.lastFullSet;
  if (last?.generation === set.generation && last.digest === digest) return replay(state, set, context);

  const hasSeen = checkIfMatch(state, request.ifMatch);
  if (last !== undefined && set.generation <= last.generation && !hasSeen)
    throw new GatewayError("stale-generation", staleMessage(set.generation, last.generation), {
      details: { generation: last.generation },
    });
  const gone = goneIn(set, state, context);
  if (!hasSeen) rejectGone([...gone.keys()]);

  const draft = new WriteDraft(state, context);
  for (const key of gone.values()) draft.record({ type: "forget-tombstone", key });
  for (const kind of kinds) {
    const specs = set.specsOf(kind);
    const names = new Set(specs.map((spec) => spec.name));
    for (const name of objectsOf(state.desired, kind).keys()) if (!names.has(name)) draft.remove(kind, name);
    for (const spec of specs) draft.put(kind, spec);
  }
  draft.setGateway(set.gateway);
  draft.record({ type: "full-set", generation: set.generation, digest });
  return draft.finish();
}

/** Restores nothing, but is a sign of life for what is still stored of it. */
function replay(state: State, set: CanonicalSet, context: WriteContext): Decision {
  const draft = new WriteDraft(state, context);
  for (const kind of kinds)
    for (const { name } of set.specsOf(kind))
      if (objectsOf(state.desired, kind).has(name)) draft.touch(kind, name);
  for (const { name } of set.specsOf("eip"))
    if (state.desired.eips.get(name)?.spec.leaseSeconds !== undefined) draft.renew(name);
  return draft.finish({ isReplay: true });
}

/** The objects of the set whose uid was deleted, with the keys of their tombstones. */
function goneIn(set: CanonicalSet, state: State, context: WriteContext): ReadonlyMap<ObjectId, string> {
  const gone = new Map<ObjectId, string>();
  if (state.tombstones.size === 0) return gone;
  for (const kind of kinds)
    for (const { name, uid } of set.specsOf(kind))
      if (uid !== undefined && isGone(state, kind, uid, context.now))
        gone.set(objectId(kind, name), tombstoneKey(kind, uid));
  return gone;
}

function staleMessage(generation: number, last: number): string {
  return generation === last
    ? `generation ${generation} was accepted with other content`
    : `generation ${generation} is older than ${last}, which was accepted`;
}
