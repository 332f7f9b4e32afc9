/**
 * The contract of a subsystem: one part of the kernel's state that the agent keeps as desired. Each is one value of this type,
 * listed in subsystems/subsystems.ts; planning, applying, drift, verification, plans' text, dry runs, metrics and reports go
 * through the list and know no subsystem by name. docs/adding-a-subsystem.md shows how one comes in.
 */

import type { Change, SubsystemName } from "../../lib/model/change.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { Plan } from "../../lib/plan/plan.ts";
import type { KernelFacts } from "../../lib/plan/plan-input.ts";
import type { Step, SubsystemPlanner } from "../../lib/plan/subsystem.ts";
import type { State } from "../../lib/state/state.ts";
import type { PassRequest } from "./pass-request.ts";

export interface Subsystem<Observed = unknown, Payload = unknown> {
  /** Pure: how it plans. */
  readonly planner: SubsystemPlanner<Observed, Payload>;
  /**
   * Reads the kernel. Throws a `GatewayError` where the reading is not whole: an unreadable table is never an empty one. Its
   * objects are not Ready then, and all other subsystems go on.
   */
  observe(signal: AbortSignal, request: PassRequest): Promise<Observed>;
  /**
   * Of rules, and of what is told by the same events: true where the last reading is proved to be true still. A write that was the
   * agent's own needs no pass then.
   */
  isCurrent?(signal: AbortSignal): Promise<boolean>;
  /** What its reading tells the other subsystems. */
  facts?(observed: Observed): Partial<KernelFacts>;
  /**
   * Applies steps of one phase, each whatever becomes of the others. What the kernel refuses is an answer; what is thrown is
   * counted as the failure of all of them.
   */
  apply(
    steps: readonly Step<Payload>[],
    context: ApplyContext<Payload>,
    signal: AbortSignal,
  ): Promise<readonly StepFailure[]>;
  /** Told how each pass ended. */
  concluded?(end: PassEnd): void;
}

/** What a subsystem may go by, and ask for, while it applies. */
export interface ApplyContext<Payload = unknown> {
  readonly state: State;
  readonly plan: Plan;
  /** All that the pass has changed so far, and is about to change. */
  readonly changes: readonly Change[];
  /** Reads this subsystem again and plans it with more objects left out. */
  replan(without: ReadonlySet<ObjectId>): Promise<readonly Step<Payload>[]>;
}

/** A step that was refused, or that failed. */
export interface StepFailure {
  readonly object?: ObjectId;
  readonly code: string;
  readonly message: string;
  /** The step in the words of its tool; absent where it was no single one. */
  readonly text?: string;
  /** The object is at fault: it is left out, and tried again later. */
  readonly isCulprit?: boolean;
}

/** A failure, and where it happened: a subsystem, or the ledger, which is written before the kernel is. */
export interface PassFailure extends StepFailure {
  readonly stage: SubsystemName | "ledger";
}

/** How a pass ended, as far as subsystems need to know. */
export interface PassEnd {
  /** Nothing was left undone. */
  readonly isDone: boolean;
}

/** Turns the agent's own kind of failure into an answer; anything else is a bug and is thrown on. */
export async function asFailures(
  effect: () => Promise<readonly StepFailure[]>,
): Promise<readonly StepFailure[]> {
  try {
    return await effect();
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return [{ code: error.code, message: error.message }];
  }
}
