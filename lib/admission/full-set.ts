/** `PUT /v1/desired`: replaces the whole set. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import { GatewayError } from "../model/errors.ts";
import { kinds, type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import { objectsOf } from "../state/desired.ts";
import type { State } from "../state/state.ts";
import { type CanonicalSet, canonicalFullSet, contentText } from "./canonical.ts";
import { WriteDraft } from "./draft.ts";
import { rejectOwnGateway } from "./gateway.ts";
import { checkFullSet } from "./input.ts";
import type { FullSet } from "./requests.ts";
import { isGone, rejectGone, tombstoneKey } from "./uids.ts";
import { checkIfMatch, type Decision, type IfMatch, type WriteContext } from "./writes.ts";

export interface FullSetRequest {
  readonly set: CheckedSet;
  readonly ifMatch?: IfMatch | undefined;
}

/** The result of all checks of a set that need no state. */
export interface CheckedSet {
  /** In canonical form. */
  readonly canonical: CanonicalSet;
  /** Digest of the content, independent of order and generation. */
  readonly digest: string;
}

/**
 * Checks a set and makes it canonical. This is half of the cost of a set of thousands, and runs before the set's
 * transaction. Yields between its parts. Throws `invalid`.
 *
 * @param set must match the schema
 * @param digest as in {@link WriteContext}
 */
export function* checkSet(set: FullSet, digest: WriteContext["digest"]): Chunked<CheckedSet> {
  // The schema check just before took long: yield first.
  yield;
  yield* checkFullSet(set);
  yield;
  const canonical = yield* canonicalFullSet(set);
  yield;
  const text = yield* contentText(canonical);
  yield;
  return { canonical, digest: digest(text) };
}

/**
 * Decides on a full set. Clashes inside it are accepted: the older object is programmed, the newer one is marked. Objects
 * keep their creation number by name, and their revision if they do not change. Throws `precondition-failed`,
 * `stale-generation`, `gone`, or `conflict` for its `gateway`, which cannot be marked.
 *
 * An `If-Match` with the current revision proves that the writer knows the current set, so the request is not a late
 * one. It allows any generation, and it allows deleted uids again: a controller that was restored from a backup needs
 * this.
 */
export function putFullSet(...given: Parameters<typeof putFullSetChunked>): Decision {
  return runSync(putFullSetChunked(...given));
}

/** Takes a few milliseconds. */
const writtenAtOnce = 2_000;

/** The same in parts. */
export function* putFullSetChunked(
  state: State,
  request: FullSetRequest,
  context: WriteContext,
): Chunked<Decision> {
  const { canonical: set, digest } = request.set;
  const last = state.lastFullSet;
  if (last?.generation === set.generation && last.digest === digest)
    return yield* replay(state, set, context);

  const hasSeen = checkIfMatch(state, request.ifMatch);
  if (last !== undefined && set.generation <= last.generation && !hasSeen)
    throw new GatewayError("stale-generation", staleMessage(set.generation, last.generation), {
      details: { generation: last.generation },
    });
  const gone = yield* goneIn(set, state, context);
  if (!hasSeen) rejectGone([...gone.keys()]);

  rejectOwnGateway(set.gateway, state.desired.gateway, context.facts);

  const draft = new WriteDraft(state, context);
  const isDue = everyNth(writtenAtOnce);
  for (const key of gone.values()) draft.record({ type: "forget-tombstone", key });
  for (const kind of kinds) {
    const specs = set.specsOf(kind);
    const names = new Set<ObjectName>();
    for (const { name } of specs) {
      if (isDue()) yield;
      names.add(name);
    }
    for (const name of objectsOf(state.desired, kind).keys()) {
      if (isDue()) yield;
      if (!names.has(name)) draft.remove(kind, name);
    }
    for (const spec of specs) {
      if (isDue()) yield;
      draft.put(kind, spec);
    }
  }
  draft.setGateway(set.gateway);
  draft.record({ type: "full-set", generation: set.generation, digest });
  yield;
  return draft.finish();
}

/** A replay does not undo later single writes. It renews the leases of those of its Eips that are still stored. */
function* replay(state: State, set: CanonicalSet, context: WriteContext): Chunked<Decision> {
  const draft = new WriteDraft(state, context);
  const isDue = everyNth(writtenAtOnce);
  for (const kind of kinds)
    for (const { name } of set.specsOf(kind)) {
      if (isDue()) yield;
      if (objectsOf(state.desired, kind).has(name)) draft.touch(kind, name);
    }
  for (const { name } of set.specsOf("eip")) {
    if (isDue()) yield;
    if (state.desired.eips.get(name)?.spec.leaseSeconds !== undefined) draft.renew(name);
  }
  return draft.finish({ isReplay: true });
}

/** The objects of the set with a deleted uid, with the keys of their tombstones. */
function* goneIn(
  set: CanonicalSet,
  state: State,
  context: WriteContext,
): Chunked<ReadonlyMap<ObjectId, string>> {
  const gone = new Map<ObjectId, string>();
  if (state.tombstones.size === 0) return gone;
  const isDue = everyNth(writtenAtOnce);
  for (const kind of kinds)
    for (const { name, uid } of set.specsOf(kind)) {
      if (isDue()) yield;
      if (uid !== undefined && isGone(state, kind, uid, context.now))
        gone.set(objectId(kind, name), tombstoneKey(kind, uid));
    }
  return gone;
}

function staleMessage(generation: number, last: number): string {
  return generation === last
    ? `generation ${generation} was already accepted with different content`
    : `generation ${generation} is older than the accepted generation ${last}`;
}
