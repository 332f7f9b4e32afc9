/**
 * Tells drift, which others made, from what was asked for, and delays repairs that somebody undoes again and again.
 *
 * A change planned twice for the same desired version is drift, unless the previous pass failed to apply it, or planned it
 * only after it had written.
 */
import type { Change } from "../../../lib/model/change.ts";
import type { PlannedStep } from "../../../lib/plan/plan.ts";
import { type ChangeKey, keyOf, RepairThrottle, type ThrottledRepair } from "./repair-throttle.ts";

export interface DriftReview {
  /** What is to be done now: all that was planned but what has to wait. */
  readonly due: readonly PlannedStep[];
  readonly throttled: ReadonlySet<ChangeKey>;
  /** What of `due` repairs what others undid. */
  readonly repairs: readonly Change[];
}

const nothingThrottled: ReadonlySet<ChangeKey> = new Set();

export class Drift {
  readonly #throttle = new RepairThrottle();
  /** What the last pass that came to its end was made from. */
  #version = "";
  /** What it left to do that was not drift. */
  #unfinished: ReadonlySet<ChangeKey> = new Set();

  /** @param version names all that decides what is asked for */
  review(version: string, steps: readonly PlannedStep[], nowMs: number): DriftReview {
    // A write changes what is asked for: then everything is done at once, whoever undoes it.
    if (version !== this.#version) return { due: steps, throttled: nothingThrottled, repairs: [] };
    const changes = steps.flatMap((step) => step.changes);
    const throttled = this.#throttle.throttled(changes, nowMs);
    const due = withoutThrottled(steps, throttled);
    const repairs = due.flatMap((step) => step.changes).filter((one) => !this.#unfinished.has(keyOf(one)));
    return { due, throttled, repairs };
  }

  /**
   * After the pass.
   *
   * @param done what it wrote
   * @param left what it left to do
   */
  conclude(
    version: string,
    { repairs, throttled }: DriftReview,
    done: readonly Change[],
    left: readonly Change[],
    nowMs: number,
  ): void {
    const isDone = new Set(repairs.length + left.length === 0 ? [] : done.map(keyOf));
    this.#throttle.record(
      repairs.filter((repair) => isDone.has(keyOf(repair))),
      nowMs,
    );
    this.#version = version;
    this.#unfinished = new Set(left.map(keyOf).filter((key) => !isDone.has(key) && !throttled.has(key)));
  }

  /** What was asked for between two versions was done elsewhere: nothing that is missing from now on is new. */
  follow(before: string, after: string): void {
    if (this.#version === before) this.#version = after;
  }

  throttled(nowMs: number): readonly ThrottledRepair[] {
    return this.#throttle.current(nowMs);
  }

  dueInMs(throttled: ReadonlySet<ChangeKey>, nowMs: number): number | undefined {
    return this.#throttle.dueInMs(throttled, nowMs);
  }
}

/** What is written in one transaction goes along where another change of it is due, and costs nothing more. */
function withoutThrottled(
  steps: readonly PlannedStep[],
  throttled: ReadonlySet<ChangeKey>,
): readonly PlannedStep[] {
  if (throttled.size === 0) return steps;
  return steps.filter(
    ({ changes }) => changes.length === 0 || changes.some((change) => !throttled.has(keyOf(change))),
  );
}
