/** What a reading of the kernel after the last write proves: the input of the judge. */
import { type Chunked, forEachChunked, runSync } from "../../../lib/chunked.ts";
import { isSameMap } from "../../../lib/memoize.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Verification } from "../../../lib/plan/judge.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Obstacle, Obstacles } from "../../../lib/plan/subsystem.ts";
import type { ThrottledRepair } from "../retry/repair-throttle.ts";
import type { PassFailure } from "../subsystem.ts";

/**
 * The obstacles of every subsystem, planned on the last reading. If the kernel's error text is known, or another
 * program keeps undoing the change, the message says that instead. What the kernel refused is settled: it is tried again, but
 * nobody has to wait for that.
 *
 * @param planAfter the plan on the last reading
 */
export function verificationOf(...given: Parameters<typeof verificationOfChunked>): Verification {
  return runSync(verificationOfChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/** The same in parts. */
export function* verificationOfChunked(
  planAfter: Pick<Plan, "parts">,
  failures: readonly PassFailure[],
  throttled: readonly ThrottledRepair[],
): Chunked<Verification> {
  const causes = new Map<ObjectId, Pick<Obstacle, "message" | "isSettled">>();
  yield* forEachChunked(failures, lookedAtOnce, ({ object, message }) => {
    if (object !== undefined) causes.set(object, { message, isSettled: true });
  });
  yield* forEachChunked(throttled, lookedAtOnce, ({ change, repairs }) => {
    if (change.object !== undefined)
      causes.set(change.object, { message: `another program undid it ${repairs} times: ${change.text}` });
  });
  const verification: Obstacles[] = [];
  for (const part of planAfter.parts.values()) {
    verification.push(yield* withCauses(yield* part.obstaclesChunked(), causes));
    yield;
  }
  return verification;
}

/** Whether both prove the same. */
export function isSameVerification(one: Verification, other: Verification): boolean {
  return one.length === other.length && one.every((obstacles, at) => isSame(obstacles, other[at]));
}

function* withCauses(
  obstacles: Obstacles,
  causes: ReadonlyMap<ObjectId, Pick<Obstacle, "message" | "isSettled">>,
): Chunked<Obstacles> {
  if (causes.size === 0 || obstacles.objects.size === 0) return obstacles;
  const objects = new Map<ObjectId, Obstacle>();
  yield* forEachChunked(obstacles.objects, lookedAtOnce, ([id, obstacle]) => {
    const cause = obstacle.condition === "Programmed" ? causes.get(id) : undefined;
    objects.set(id, { ...obstacle, ...cause });
  });
  return { ...obstacles, objects };
}

function isSame(one: Obstacles, other: Obstacles | undefined): boolean {
  if (one === other) return true;
  return (
    other !== undefined &&
    isSameMap(one.objects, other.objects, isSameObstacle) &&
    isSameMap(one.kinds, other.kinds, isSameObstacle)
  );
}

function isSameObstacle(one: Obstacle, other: Obstacle): boolean {
  return (
    one === other ||
    (one.condition === other.condition &&
      one.reason === other.reason &&
      one.message === other.message &&
      one.isSettled === other.isSettled)
  );
}
