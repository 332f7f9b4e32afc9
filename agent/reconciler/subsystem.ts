/**
 * The contract of a subsystem: one part of the kernel's state that the agent keeps as desired. Each subsystem is one
 * value of this type, listed in subsystems/subsystems.ts. Planning, applying, drift, verification, plan texts, dry
 * runs, metrics and reports iterate over the list. docs/architecture.md tells which places know one by name.
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
  /** The pure half: planning. */
  readonly planner: SubsystemPlanner<Observed, Payload>;
  /**
   * Reads the kernel. Throws a `GatewayError` if the reading is incomplete: an unreadable table never counts as empty.
   * Then the subsystem's objects are not Ready, and all other subsystems continue.
   */
  observe(signal: AbortSignal, request: PassRequest): Promise<Observed>;
  /** The next {@link observe} reads everything from the kernel. Absent: it always does. */
  forget?(): void;
  /**
   * For subsystems whose changes the rule events report: true if the last reading is proved to be current. Then the
   * event came from the agent's own write and needs no pass.
   */
  isCurrent?(signal: AbortSignal): Promise<boolean>;
  /** The facts of its reading that other subsystems need. */
  facts?(observed: Observed): Partial<KernelFacts>;
  /**
   * Applies the steps of one phase, each independently of the others. Returns what the kernel refused. A thrown error
   * counts as a failure of all of them.
   */
  apply(
    steps: readonly Step<Payload>[],
    context: ApplyContext<Payload>,
    signal: AbortSignal,
  ): Promise<readonly StepFailure[]>;
  /** Called at the end of each pass. */
  onPassEnd?(end: PassEnd): void;
}

/** What a subsystem can use while it applies steps. */
export interface ApplyContext<Payload = unknown> {
  readonly state: State;
  readonly plan: Plan;
  /** All changes that the pass has made or is about to make. */
  readonly changes: readonly Change[];
  /** Reads this subsystem again and plans it with more objects left out. */
  replan(without: ReadonlySet<ObjectId>): Promise<readonly Step<Payload>[]>;
}

/** A step that was refused or failed. */
export interface StepFailure {
  readonly object?: ObjectId;
  readonly code: string;
  readonly message: string;
  /** The step as its tool's command. Absent if it was not a single step. */
  readonly text?: string;
  /** The kernel rejects the object: it is left out and tried again later. */
  readonly isRejected?: boolean;
}

/** A failure and where it happened: in a subsystem, or in the ledger, which is written before the kernel. */
export interface PassFailure extends StepFailure {
  readonly stage: SubsystemName | "ledger";
}

/** How a pass ended, as far as subsystems need it. */
export interface PassEnd {
  /** Nothing was left undone. */
  readonly isDone: boolean;
}

/** Turns a `GatewayError` into a list of failures. Anything else is a bug and is rethrown. */
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
