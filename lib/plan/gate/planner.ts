/**
 * Plans guard and gate. In a fresh namespace nothing leaves the VPC until every rule is verified: a flow that leaves
 * earlier is untranslated, and stays so.
 */
import type { Kind } from "../../model/names.ts";
import type { RulesPlanner } from "../rules-planner.ts";
import { type Obstacle, type SubsystemPlanner, subsystemPlan } from "../subsystem.ts";

/** The kinds that translate packets. Routes and Eips are complete even while nothing is forwarded. */
export const translatingKinds: readonly Kind[] = ["fip", "snat", "dnat"];

export function gateSubsystemPlanner<Observed, Payload>(
  planner: RulesPlanner<Observed, Payload>,
): SubsystemPlanner<Observed, Payload> {
  return {
    name: "gate",
    title: "the gate's rules",
    serves: translatingKinds,
    plan({ program, context }, observed) {
      const { changes, payload } = planner.planGate(program, observed, context.gate);
      const isClosed = planner.isGateClosed(observed);
      const phase = isClosed && context.gate === "open" ? "opening" : "gate";
      return subsystemPlan(
        changes.length === 0 ? [] : [{ phase, changes, payload }],
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
    },
    reads: ({ program, context }) => [program, context.gate],
  };
}

const heldBack: Obstacle = {
  condition: "Ready",
  reason: "Pending",
  message: "nothing leaves the VPC until every rule is verified",
};
