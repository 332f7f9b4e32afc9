/**
 * Deleted uids. A uid names one life of an object; once that life was ended, a delayed PUT of it must not bring it back,
 * so each is remembered for a day. What is remembered is bounded: whoever may delete could otherwise fill the memory.
 */
import { GatewayError } from "../model/errors.ts";
import type { Kind, ObjectId, Uid } from "../model/names.ts";
import type { Instant, State, StateChange } from "../state/state.ts";

/** How long a deleted uid is remembered: longer than any queue delays a create. */
export const tombstoneMs = 24 * 60 * 60 * 1000;

/** Uids that are remembered; beyond it the oldest are forgotten early. */
export const maxTombstones = 100_000;

/** What one write forgets beside what it must make room for, so that none takes long. */
const maxForgotten = 1_000;

/** The key of {@link State.tombstones}. */
export function tombstoneKey(kind: Kind, uid: Uid): string {
  return `${kind}/${uid}`;
}

/** True while the uid is remembered as deleted. */
export function isGone(state: State, kind: Kind, uid: Uid, now: Instant): boolean {
  return (state.tombstones.get(tombstoneKey(kind, uid)) ?? Number.NEGATIVE_INFINITY) > now.wallMs;
}

/**
 * The changes that remember `keys`, and forget what was remembered long enough or has no room. The oldest come first, so
 * that this looks at few.
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

/** How many uids the changes forget before their time. */
export function countEvicted(changes: readonly StateChange[]): number {
  return changes.filter(({ type }) => type === "evict-tombstone").length;
}

/** Throws `gone` where `objects` were asked for by uids that were deleted; names the first 100 in `details.objects`. */
export function rejectGone(objects: readonly ObjectId[]): void {
  if (objects.length === 0) return;
  throw new GatewayError("gone", `the uid of ${objects[0]} was deleted for good`, {
    details: { objects: objects.slice(0, 100), objectsTotal: objects.length },
  });
}
