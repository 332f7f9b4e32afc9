/**
 * Deleted uids. A uid identifies one life of an object. After its deletion a delayed PUT must not bring it back, so
 * each deleted uid is remembered for a day. The number is limited: otherwise any client that may delete could fill the
 * memory.
 */
import { GatewayError } from "../model/errors.ts";
import type { Kind, ObjectId, Uid } from "../model/names.ts";
import type { Instant, State, StateChange } from "../state/state.ts";

/** How long a deleted uid is remembered, in ms: longer than any queue delays a create. */
export const tombstoneMs = 24 * 60 * 60 * 1000;

/** Maximum number of remembered uids. Above it the oldest are forgotten early. */
export const maxTombstones = 100_000;

/** Maximum number of expired uids that one write forgets, so that no write takes long. */
const maxForgotten = 1_000;

/** The key in {@link State.tombstones}. */
export function tombstoneKey(kind: Kind, uid: Uid): string {
  return `${kind}/${uid}`;
}

/** True while the uid is remembered as deleted. */
export function isGone(state: State, kind: Kind, uid: Uid, now: Instant): boolean {
  return (state.tombstones.get(tombstoneKey(kind, uid)) ?? Number.NEGATIVE_INFINITY) > now.wallMs;
}

/**
 * Changes that remember `keys`, and forget uids that expired or have no room. Looks at few uids, since the oldest come
 * first.
 */
export function remember(state: State, keys: readonly string[], now: Instant): readonly StateChange[] {
  const kept = keys.slice(-maxTombstones);
  const added = kept.filter((key) => !state.tombstones.has(key)).length;
  const excess = state.tombstones.size + added - maxTombstones;
  const changes: StateChange[] = [];
  for (const [key, untilMs] of state.tombstones) {
    if (changes.length >= added + maxForgotten) break;
    if (untilMs <= now.wallMs) changes.push({ type: "forget-tombstone", key });
    else if (changes.length < excess) changes.push({ type: "evict-tombstone", key });
    else break;
  }
  for (const key of kept) changes.push({ type: "tombstone", key, untilMs: now.wallMs + tombstoneMs });
  return changes;
}

/** The number of uids that the changes forget before their time. */
export function countEvicted(changes: readonly StateChange[]): number {
  return changes.filter(({ type }) => type === "evict-tombstone").length;
}

/** Throws `gone` if `objects` were requested with deleted uids. `details.objects` names the first 100. */
export function rejectGone(objects: readonly ObjectId[]): void {
  if (objects.length === 0) return;
  throw new GatewayError("gone", `the uid of ${objects[0]} was deleted and cannot be used again`, {
    details: { objects: objects.slice(0, 100), objectsTotal: objects.length },
  });
}
