/** Removes what an earlier dataplane left behind, after the current one is verified, so that no flow is interrupted. */
import type { RemovalPlanner } from "./removal-planner.ts";
import { type SubsystemPlanner, subsystemPlan } from "./subsystem.ts";

/** What another dataplane left behind, and the planner for it. */
export interface PreviousObserved {
  readonly name: string;
  readonly planner: RemovalPlanner;
  readonly observed: unknown;
}

export interface PreviousStep {
  readonly name: string;
  readonly payload: unknown;
}

export const previousPlanner: SubsystemPlanner<readonly PreviousObserved[], PreviousStep> = {
  name: "previous",
  title: "rules of the previous dataplane",
  serves: [],
  plan({ context }, all) {
    if (!context.isCleanupAllowed) return subsystemPlan([]);
    const removals = all.map(({ name, planner, observed }) => ({ name, ...planner.plan(observed) }));
    return subsystemPlan(
      removals
        .filter(({ changes }) => changes.length > 0)
        .map(({ name, changes, payload }) => ({ phase: "cleanup", changes, payload: { name, payload } })),
    );
  },
  reads: ({ context }) => [context.isCleanupAllowed],
};
