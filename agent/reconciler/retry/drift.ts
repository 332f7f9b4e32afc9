/**
 * Distinguishes drift, which other programs cause, from desired changes, and delays repairs that another program keeps
 * undoing.
 *
 * A change planned twice for the same desired version is drift, unless the previous pass failed to apply it, or planned
 * it only after its own writes, or no pass of this version has read its subsystem yet.
 */
import { type Chunked, filterChunked, forEachChunked } from "../../../lib/chunked.ts";
import type { Change, SubsystemName } from "../../../lib/model/change.ts";
import type { PlannedStep } from "../../../lib/plan/plan.ts";
import type { ProgramVersion } from "./program-versions.ts";
import { type ChangeKey, keyOf, RepairThrottle, type ThrottledRepair } from "./repair-throttle.ts";

export interface DriftReview {
  /** What to do now: everything planned, except what has to wait. */
  readonly due: readonly PlannedStep[];
  readonly throttled: ReadonlySet<ChangeKey>;
  /** The changes of `due` that repair drift. */
  readonly repairs: readonly Change[];
}

/** What is still to do after a pass. */
export interface Left {
  readonly changes: readonly Change[];
  /** The subsystems that it could not read: what is to do there is unknown. */
  readonly unread: ReadonlySet<SubsystemName>;
}

const nothingThrottled: ReadonlySet<ChangeKey> = new Set();

export class Drift {
  readonly #throttle = new RepairThrottle();
  /** The version of the last finished pass. */
  #version: ProgramVersion | undefined;
  /** Changes that this pass left undone. If they are planned again, that is a retry and no drift. */
  #unfinished: ReadonlySet<ChangeKey> = new Set();
  /** The subsystems that no pass of this version has read: what is to do there may never have been done. */
  #unread: ReadonlySet<SubsystemName> = new Set();

  /**
   * In parts.
   *
   * @param isRetry true: throttled repairs are due now, too
   */
  *review(
    version: ProgramVersion,
    steps: readonly PlannedStep[],
    nowMs: number,
    isRetry: boolean,
  ): Chunked<DriftReview> {
    // A write changes what is desired: then everything is done at once, even if another program undoes it.
    if (version !== this.#version) return { due: steps, throttled: nothingThrottled, repairs: [] };
    const changes = changesOf(steps);
    const throttled = isRetry ? nothingThrottled : yield* this.#throttle.throttled(changes, nowMs);
    const due = yield* withoutThrottled(steps, throttled);
    const known = this.#unread.size === 0 ? due : due.filter(({ subsystem }) => !this.#unread.has(subsystem));
    const written = known === steps ? changes : changesOf(known);
    const repairs =
      this.#unfinished.size === 0
        ? written
        : yield* filterChunked(written, lookedAtOnce, (one) => !this.#unfinished.has(keyOf(one)));
    return { due, throttled, repairs };
  }

  /**
   * The pass has written for the last time.
   *
   * @param done what the pass wrote
   * @param left what it leaves to the next one
   * @returns the repairs that were written; in parts
   */
  *onWritten(
    version: ProgramVersion,
    { repairs, throttled }: DriftReview,
    done: readonly Change[],
    left: Left,
    nowMs: number,
  ): Chunked<readonly Change[]> {
    const isDone = new Set<ChangeKey>();
    if (repairs.length + left.changes.length > 0)
      yield* forEachChunked(done, lookedAtOnce, (change) => isDone.add(keyOf(change)));
    const repaired = yield* filterChunked(repairs, lookedAtOnce, (repair) => isDone.has(keyOf(repair)));
    yield* this.#throttle.record(repaired, nowMs);
    const unfinished = new Set<ChangeKey>();
    yield* forEachChunked(left.changes, lookedAtOnce, (change) => {
      const key = keyOf(change);
      if (!isDone.has(key) && !throttled.has(key)) unfinished.add(key);
    });
    this.#unread = version === this.#version ? left.unread.intersection(this.#unread) : left.unread;
    this.#version = version;
    this.#unfinished = unfinished;
    return repaired;
  }

  /** An incremental pass did everything between two versions. From now on anything missing is drift. */
  onIncrementalPass(before: ProgramVersion, after: ProgramVersion): void {
    if (this.#version === before) this.#version = after;
  }

  throttled(nowMs: number): readonly ThrottledRepair[] {
    return this.#throttle.current(nowMs);
  }

  dueInMs(throttled: ReadonlySet<ChangeKey>, nowMs: number): number | undefined {
    return this.#throttle.dueInMs(throttled, nowMs);
  }
}

function changesOf(steps: readonly PlannedStep[]): readonly Change[] {
  return steps.flatMap(({ changes }) => changes);
}

/** A throttled change in the same transaction as a due one is applied too, since it costs nothing more. */
function* withoutThrottled(
  steps: readonly PlannedStep[],
  throttled: ReadonlySet<ChangeKey>,
): Chunked<readonly PlannedStep[]> {
  if (throttled.size === 0) return steps;
  return yield* filterChunked(
    steps,
    lookedAtOnce,
    ({ changes }) => changes.length === 0 || changes.some((change) => !throttled.has(keyOf(change))),
  );
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;
