/** Plans what clears up after a dataplane that served before this one: once this one is verified, so that no flow is cut. */
import type { RemovalPlanner } from "./removal-planner.ts";
import { type SubsystemPlanner, subsystemPlan } from "./subsystem.ts";

/** What one other dataplane left, and how that is read. */
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
  serves: [],
  plan({ context }, all) {
    if (!context.isVerified) return subsystemPlan([]);
    const removals = all.map(({ name, planner, observed }) => ({ name, ...planner.plan(observed) }));
    return subsystemPlan(
      removals
        .filter(({ changes }) => changes.length > 0)
        .map(({ name, changes, payload }) => ({ phase: "cleanup", changes, payload: { name, payload } })),
    );
  },
  reads: ({ context }) => [context.isVerified],
};
