/** Writes the steps of a plan. Objects that the kernel refuses are quarantined. */

import type { SubsystemName } from "../../../lib/model/change.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Plan, PlannedStep } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { StepNeed } from "../../../lib/plan/subsystem.ts";
import type { State } from "../../../lib/state/state.ts";
import type { PassRequest } from "../pass-request.ts";
import type { Quarantine } from "../retry/quarantine.ts";
import { type Applied, type ApplyOptions, applySteps } from "./apply-steps.ts";
import type { PassDeps } from "./pass-result.ts";
import type { Planner } from "./planner.ts";
import type { SnapshotReader } from "./snapshot-reader.ts";

export interface StepWriterDeps extends Pick<PassDeps, "subsystems" | "timeLimits"> {
  readonly reader: Pick<SnapshotReader, "read">;
  readonly planner: Pick<Planner, "plan">;
  readonly quarantine: Pick<Quarantine, "objects" | "record">;
}

/** What a pass has read and planned. */
export interface PlannedWork {
  readonly state: State;
  readonly snapshot: Snapshot;
  readonly plan: Plan;
  /** What to write of the plan. */
  readonly steps: readonly PlannedStep[];
  /** See {@link ApplyOptions.hasOpenWork}. */
  readonly hasOpenWork: boolean;
  /** False: the ledger lacks what the plan adds, because it could not be written. */
  readonly isLedgerWritten: boolean;
}

export class StepWriter {
  readonly #deps: StepWriterDeps;

  constructor(deps: StepWriterDeps) {
    this.#deps = deps;
  }

  async write(work: PlannedWork, request: PassRequest, signal: AbortSignal): Promise<Applied> {
    const { subsystems, timeLimits, quarantine } = this.#deps;
    const { state, snapshot, plan, steps, hasOpenWork, isLedgerWritten } = work;
    const replan = (name: SubsystemName, without: ReadonlySet<ObjectId>) =>
      this.#replan(name, without, work, request, signal);
    const unavailable = new Set<StepNeed>(snapshot.unread.keys());
    if (!isLedgerWritten) unavailable.add("ledger");
    const options: ApplyOptions = { context: { state, plan }, replan, unavailable, hasOpenWork, timeLimits };
    const applied = await applySteps(steps, subsystems, options, signal);
    quarantine.record(state, applied.failures);
    return applied;
  }

  /** Reads a subsystem again and plans it with more objects left out. Throws if it cannot be read. */
  async #replan(
    name: SubsystemName,
    without: ReadonlySet<ObjectId>,
    { state, snapshot, plan }: PlannedWork,
    request: PassRequest,
    signal: AbortSignal,
  ): Promise<readonly PlannedStep[]> {
    const { reader, planner, quarantine } = this.#deps;
    const again = await reader.read(request, signal, snapshot, new Set([name]));
    const error = again.unread.get(name);
    if (error !== undefined) throw error;
    const quarantined = new Map(quarantine.objects);
    for (const id of without) quarantined.set(id, "");
    const { gate, bfd, isCleanupAllowed } = plan.context;
    const { steps } = await planner.plan(state, again, { quarantined, gate, bfd, isCleanupAllowed });
    return steps.filter((step) => step.subsystem === name);
  }
}
