/**
 * Plans guard and gate. In a fresh namespace nothing leaves the VPC until every rule is verified: a flow that leaves
 * earlier is untranslated, and stays so.
 */
import { type Chunked, runSync } from "../../chunked.ts";
import type { Kind } from "../../model/names.ts";
import type { PlanInput } from "../plan-input.ts";
import type { RulesPlanner } from "../rules-planner.ts";
import { type Obstacle, type SubsystemPlan, type SubsystemPlanner, subsystemPlan } from "../subsystem.ts";

/** The kinds that translate packets. Routes and Eips are complete even while nothing is forwarded. */
export const translatingKinds: readonly Kind[] = ["fip", "snat", "dnat"];

export function gateSubsystemPlanner<Observed, Payload>(
  planner: RulesPlanner<Observed, Payload>,
): SubsystemPlanner<Observed, Payload> {
  function* planChunked(
    { program, context }: PlanInput,
    observed: Observed,
  ): Chunked<SubsystemPlan<Payload>> {
    const steps = yield* planner.planGateChunked(program, observed, context.gate);
    const isClosed = planner.isGateClosed(observed);
    return subsystemPlan(
      steps,
      () => ({
        objects: new Map(),
        kinds: new Map(isClosed ? translatingKinds.map((kind) => [kind, heldBack]) : []),
      }),
      {
        notices: isClosed
          ? [
              {
                reason: "GateClosed",
                message: "nothing is forwarded from the VPC to the outside until every rule is verified",
              },
            ]
          : [],
      },
    );
  }
  return {
    name: "gate",
    title: "the gate's rules",
    serves: translatingKinds,
    plan: (input, observed) => runSync(planChunked(input, observed)),
    planChunked,
    reads: ({ program, context }) => [program, context.gate],
  };
}

const heldBack: Obstacle = {
  condition: "Ready",
  reason: "Pending",
  message: "nothing leaves the VPC until every rule is verified",
};
