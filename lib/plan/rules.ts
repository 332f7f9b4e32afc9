/** The rules subsystem, for whichever dataplane is in use. Guard and gate are a separate subsystem. */
import type { Chunked } from "../chunked.ts";
import type { Program } from "../model/program.ts";
import { needsOfGate } from "./gate/needs.ts";
import type { PlanInput } from "./plan-input.ts";
import type { RulesPlan, RulesPlanner } from "./rules-planner.ts";
import {
  type Obstacles,
  obstaclesOfChunked,
  type SubsystemPlan,
  type SubsystemPlanner,
  subsystemPlan,
} from "./subsystem.ts";

export function rulesSubsystemPlanner<Observed, Payload>(
  planner: RulesPlanner<Observed, Payload>,
): SubsystemPlanner<Observed, Payload> {
  function* missing(program: Program, observed: Observed): Chunked<Obstacles> {
    const lacking = yield* obstaclesOfChunked(
      "Programmed",
      "Pending",
      yield* planner.missingChunked(program, observed),
    );
    const unsupported = planner.unsupported?.(program, observed);
    if (unsupported === undefined || unsupported.size === 0) return lacking;
    const objects = new Map(lacking.objects);
    for (const [id, message] of unsupported)
      objects.set(id, { condition: "Programmed", reason: "NotSupported", message, isSettled: true });
    return { ...lacking, objects };
  }
  const conclude = (
    { program, context, facts }: PlanInput,
    observed: Observed,
    { changes, payload }: RulesPlan<Payload>,
  ): SubsystemPlan<Payload> =>
    // In a fresh namespace no rules before the gate: if the state is lost, rules alone would make it look like a
    // gateway in use.
    subsystemPlan(
      changes.length === 0
        ? []
        : [{ phase: "rules", changes, payload, needs: needsOfGate({ context, facts }) }],
      () => missing(program, observed),
    );
  return {
    name: "rule",
    title: "the agent's rules",
    serves: ["eip", "fip", "snat", "dnat"],
    plan: (input, observed) => conclude(input, observed, planner.plan(input.program, observed)),
    *planChunked(input, observed): Chunked<SubsystemPlan<Payload>> {
      return conclude(input, observed, yield* planner.planChunked(input.program, observed));
    },
    reads: ({ program, context, facts }) => [program, context.gate, facts.isGateClosed],
  };
}
