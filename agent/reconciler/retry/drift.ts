/**
 * Distinguishes drift, which other programs cause, from desired changes, and delays repairs that another program keeps
 * undoing.
 *
 * A change planned twice for the same desired version is drift, unless the previous pass failed to apply it, or planned
 * it only after its own writes.
 */
import type { Change } from "../../../lib/model/change.ts";
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

const nothingThrottled: ReadonlySet<ChangeKey> = new Set();

export class Drift {
  readonly #throttle = new RepairThrottle();
  /** The version of the last finished pass. */
  #version: ProgramVersion | undefined;
  /** What that pass left undone that was not drift. */
  #unfinished: ReadonlySet<ChangeKey> = new Set();

  review(version: ProgramVersion, steps: readonly PlannedStep[], nowMs: number): DriftReview {
    // A write changes what is desired: then everything is done at once, even if another program undoes it.
    if (version !== this.#version) return { due: steps, throttled: nothingThrottled, repairs: [] };
    const changes = steps.flatMap((step) => step.changes);
    const throttled = this.#throttle.throttled(changes, nowMs);
    const due = withoutThrottled(steps, throttled);
    const repairs = due.flatMap((step) => step.changes).filter((one) => !this.#unfinished.has(keyOf(one)));
    return { due, throttled, repairs };
  }

  /**
   * The pass has written for the last time.
   *
   * @param done what the pass wrote
   * @param left what the pass left to do
   * @returns the repairs that were written
   */
  onWritten(
    version: ProgramVersion,
    { repairs, throttled }: DriftReview,
    done: readonly Change[],
    left: readonly Change[],
    nowMs: number,
  ): readonly Change[] {
    const isDone = new Set(repairs.length + left.length === 0 ? [] : done.map(keyOf));
    const repaired = repairs.filter((repair) => isDone.has(keyOf(repair)));
    this.#throttle.record(repaired, nowMs);
    this.#version = version;
    this.#unfinished = new Set(left.map(keyOf).filter((key) => !isDone.has(key) && !throttled.has(key)));
    return repaired;
  }

  /** The changes between two versions were done elsewhere: from now on anything missing is drift. */
  update(before: ProgramVersion, after: ProgramVersion): void {
    if (this.#version === before) this.#version = after;
  }

  throttled(nowMs: number): readonly ThrottledRepair[] {
    return this.#throttle.current(nowMs);
  }

  dueInMs(throttled: ReadonlySet<ChangeKey>, nowMs: number): number | undefined {
    return this.#throttle.dueInMs(throttled, nowMs);
  }
}

/** A throttled change in the same transaction as a due one is applied too, since it costs nothing more. */
function withoutThrottled(
  steps: readonly PlannedStep[],
  throttled: ReadonlySet<ChangeKey>,
): readonly PlannedStep[] {
  if (throttled.size === 0) return steps;
  return steps.filter(
    ({ changes }) => changes.length === 0 || changes.some((change) => !throttled.has(keyOf(change))),
  );
}
