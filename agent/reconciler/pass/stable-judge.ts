/** Judges all objects after each pass. The verdicts keep their identity while nothing changes. */

import { setImmediate as nextTurn } from "node:timers/promises";
import { memoizeLastChunked, stabilize } from "../../../lib/memoize.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { ObjectVerdict } from "../../../lib/model/status.ts";
import { judgeChunked } from "../../../lib/plan/judge.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { State } from "../../../lib/state/state.ts";
import { runYielding } from "../../run-yielding.ts";
import type { ThrottledRepair } from "../retry/repair-throttle.ts";
import type { PassFailure } from "../subsystem.ts";
import { isSameVerification, verificationOfChunked } from "./verification.ts";

export class StableJudge {
  readonly #stabilize = stabilize(isSameVerification);
  readonly #judge = memoizeLastChunked(judgeChunked);

  /** @param planAfter the plan on the last reading */
  async judge(
    { desired }: State,
    planAfter: Plan,
    failures: readonly PassFailure[],
    throttled: readonly ThrottledRepair[],
  ): Promise<ReadonlyMap<ObjectId, ObjectVerdict>> {
    const verification = this.#stabilize(
      await runYielding(verificationOfChunked(planAfter, failures, throttled)),
    );
    await nextTurn();
    return runYielding(this.#judge(desired, planAfter.compiled, verification));
  }
}
