/**
 * Rules and gate in one plan. The gate is closed before anything else changes, and opened when everything else is
 * there.
 */
import { type Chunked, runSync } from "../../lib/chunked.ts";
import type { Program } from "../../lib/model/program.ts";
import type { GateState, Gates } from "../../lib/plan/gate-state.ts";
import type { RulesPlan, RulesPlanner } from "../../lib/plan/rules-planner.ts";

/** That of BFD is open. */
export function gatesOf(gate: GateState): Gates {
  return { gate, bfd: "open" };
}

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
  const parts = yield* planner.planGateChunked(program, observed, gatesOf(gate));
  const [first, ...others] = [
    ...parts.filter(({ phase }) => phase === "gate"),
    rules,
    ...parts.filter(({ phase }) => phase === "removals"),
    ...parts.filter(({ phase }) => phase === "opening"),
  ];
  return others.reduce(
    (one, other) => ({
      changes: [...one.changes, ...other.changes],
      payload: planner.join(one.payload, other.payload),
    }),
    first ?? rules,
  );
}
