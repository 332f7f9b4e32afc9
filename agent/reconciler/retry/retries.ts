/**
 * What full passes remember of each other: refused objects, repaired drift, and work that was left undone. Knows when
 * the next pass is due because of them.
 */

import type { Chunked } from "../../../lib/chunked.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Plan, PlannedStep } from "../../../lib/plan/plan.ts";
import type { State } from "../../../lib/state/state.ts";
import type { PassRequest } from "../pass-request.ts";
import type { PassFailure } from "../subsystem.ts";
import { Drift, type DriftReview, type Left } from "./drift.ts";
import { PassRetry } from "./pass-retry.ts";
import { type ProgramInput, type ProgramVersion, ProgramVersions } from "./program-versions.ts";
import { Quarantine } from "./quarantine.ts";
import { type ChangeKey, keyOf, type ThrottledRepair } from "./repair-throttle.ts";

/** What a pass has to do of what it planned. */
export interface Review extends DriftReview {
  readonly version: ProgramVersion;
  /** True unless an earlier pass did all work for this version. */
  readonly hasOpenWork: boolean;
}

/** The parts of a result that decide whether the next pass is a retry. */
export interface FinishedPass {
  readonly failures: readonly PassFailure[];
  readonly planAfter: Pick<Plan, "changes">;
  readonly isClean: boolean;
}

export class Retries {
  readonly quarantine: Quarantine;
  readonly #nowMs: () => number;
  readonly #versions = new ProgramVersions();
  readonly #drift = new Drift();
  readonly #retry = new PassRetry();

  /** @param nowMs milliseconds of a monotonic clock */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.quarantine = new Quarantine(nowMs);
  }

  /** Call it first in a pass. Then, in this order: {@link review}, {@link onWritten}, {@link onJudged}, {@link onPassEnd}. */
  onPassStart(state: State, request: PassRequest): void {
    this.quarantine.onPassStart(state, request);
  }

  /** Separates what is due now of `steps` from repairs that have to wait. In parts. */
  *review(
    input: ProgramInput,
    steps: readonly PlannedStep[],
    { isRetry = false }: Pick<PassRequest, "isRetry">,
  ): Chunked<Review> {
    const version = this.#versions.versionOf(input);
    const hasOpenWork = !this.#retry.isDone(version);
    const drift = yield* this.#drift.review(version, steps, this.#nowMs(), isRetry);
    return { ...drift, version, hasOpenWork };
  }

  /**
   * The same for steps that are planned only after others were written.
   *
   * @returns `due`: of `steps` only; the rest: of both reviews. In parts
   */
  *reviewMore(
    before: Review,
    steps: readonly PlannedStep[],
    { isRetry = false }: Pick<PassRequest, "isRetry">,
  ): Chunked<Review> {
    const { due, throttled, repairs } = yield* this.#drift.review(
      before.version,
      steps,
      this.#nowMs(),
      isRetry,
    );
    return {
      ...before,
      due,
      throttled: before.throttled.union(throttled),
      repairs: [...before.repairs, ...repairs],
    };
  }

  /**
   * The pass has written for the last time: `done`, and leaves `left` to the next one.
   *
   * @returns what of `done` repaired drift; in parts
   */
  onWritten(review: Review, done: Plan["changes"], left: Left): Chunked<readonly Change[]> {
    return this.#drift.onWritten(review.version, review, done, left, this.#nowMs());
  }

  /** The pass knows which objects are programmed. */
  onJudged(isProgrammed: (id: ObjectId) => boolean): void {
    this.quarantine.onJudged(isProgrammed);
  }

  /** The pass has ended. */
  onPassEnd({ version, throttled }: Review, { failures, planAfter, isClean }: FinishedPass): void {
    // Throttled repairs have their own time: no retry before that.
    const isWaiting =
      failures.length === 0 && planAfter.changes.every((change) => throttled.has(keyOf(change)));
    this.#retry.note(version, !isClean && !isWaiting);
  }

  /** An incremental pass did all work between two states. */
  recordIncrementalPass(before: ProgramInput, after: ProgramInput): void {
    const version = this.#versions.versionOf(before);
    if (!this.#retry.isDone(version)) return;
    const next = this.#versions.versionOf(after);
    this.#retry.note(next, false);
    this.#drift.onIncrementalPass(version, next);
  }

  /** Repairs that another program keeps undoing. */
  get throttled(): readonly ThrottledRepair[] {
    return this.#drift.throttled(this.#nowMs());
  }

  /**
   * Milliseconds until the next retry is due. `undefined` if there is none.
   *
   * @param throttled the repairs that the last pass left to a later one
   */
  dueInMs(throttled: ReadonlySet<ChangeKey>): number | undefined {
    return earliest([
      this.#retry.dueInMs,
      this.quarantine.dueInMs(),
      this.#drift.dueInMs(throttled, this.#nowMs()),
    ]);
  }
}

/** The smallest of these durations. `undefined` if there is none. */
export function earliest(durations: readonly (number | undefined)[]): number | undefined {
  const known = durations.filter((ms) => ms !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
