/**
 * Rules and gate in one plan. The gate is closed before anything else changes, and opened when everything else is
 * there.
 */
import { type Chunked, runSync } from "../../lib/chunked.ts";
import type { Program } from "../../lib/model/program.ts";
import type { GateState, RulesPlan, RulesPlanner } from "../../lib/plan/rules-planner.ts";

/** Everything that a dataplane holds for a program. On its own result it plans nothing. */
export function planWithGate<Observed, Payload>(
  planner: RulesPlanner<Observed, Payload>,
  program: Program,
  observed: Observed,
  gate: GateState,
): RulesPlan<Payload> {
  return runSync(planWithGateChunked(planner, program, observed, gate));
}

export function* planWithGateChunked<Observed, Payload>(
  planner: RulesPlanner<Observed, Payload>,
  program: Program,
  observed: Observed,
  gate: GateState,
): Chunked<RulesPlan<Payload>> {
  const rules = yield* planner.planChunked(program, observed);
  const barrier = planner.planGate(program, observed, gate);
  const isOpening = gate === "open" && planner.isGateClosed(observed);
  const [first, second] = isOpening ? [rules, barrier] : [barrier, rules];
  return {
    changes: [...first.changes, ...second.changes],
    payload: planner.join(first.payload, second.payload),
  };
}
