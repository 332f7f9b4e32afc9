/**
 * Deleted uids. A uid names one life of an object; once that life was ended, a delayed PUT of it must not bring it back,
 * so each is remembered for a day.
 */
import { GatewayError } from "../model/errors.ts";
import type { Kind, ObjectId, Uid } from "../model/names.ts";
import type { Instant, State, StateChange } from "../state/state.ts";

/** How long a deleted uid is remembered: longer than any queue delays a create. */
export const tombstoneMs = 24 * 60 * 60 * 1000;

/** The key of {@link State.tombstones}. */
export function tombstoneKey(kind: Kind, uid: Uid): string {
  return `${kind}/${uid}`;
}

/** True while the uid is remembered as deleted. */
export function isGone(state: State, kind: Kind, uid: Uid, now: Instant): boolean {
  return (state.tombstones.get(tombstoneKey(kind, uid)) ?? Number.NEGATIVE_INFINITY) > now.wallMs;
}

/** The changes that forget what was remembered long enough. The oldest come first, so that this looks at few. */
export function forgetExpired(state: State, now: Instant): readonly StateChange[] {
  const changes: StateChange[] = [];
  for (const [key, untilMs] of state.tombstones) {
    if (untilMs > now.wallMs) break;
    changes.push({ type: "forget-tombstone", key });
  }
  return changes;
}

/** Throws `gone` where `objects` were asked for by uids that were deleted; names the first 100 in `details.objects`. */
export function rejectGone(objects: readonly ObjectId[]): void {
  if (objects.length === 0) return;
  throw new GatewayError("gone", `the uid of ${objects[0]} was deleted for good`, {
    details: { objects: objects.slice(0, 100), objectsTotal: objects.length },
  });
}
