/**
 * Plans guard and gates. In a fresh namespace nothing leaves the VPC untranslated until every rule is verified: a flow that
 * leaves earlier stays untranslated. What has its rule passes at once. Without nf_tables the gate drops everything.
 */
import { type Chunked, runSync } from "../../chunked.ts";
import type { Degradation } from "../../model/degradation.ts";
import type { GatewayConfig } from "../../model/gateway-config.ts";
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
    const { gate, bfd, isSet, config } = context;
    const { apiGuard } = config;
    const gates = { gate, bfd, ...(isSet !== undefined && { isSet }), ...(apiGuard && { apiGuard }) };
    const steps = yield* planner.planGateChunked(program, observed, gates);
    return subsystemPlan(
      steps,
      () => ({
        objects: new Map(),
        kinds: new Map(
          planner.mayDropTranslated(program, observed)
            ? translatingKinds.map((kind) => [kind, heldBack])
            : [],
        ),
      }),
      { notices: notices(planner.isGateClosed(observed), planner.isGateSelective(observed), context.config) },
    );
  }
  return {
    name: "gate",
    title: "the gate's rules",
    serves: translatingKinds,
    plan: (input, observed) => runSync(planChunked(input, observed)),
    planChunked,
    reads: ({ program, context }) => [program, context.gate, context.bfd, context.isSet, context.config],
  };
}

function notices(
  isClosed: boolean,
  isSelective: boolean,
  { untranslated }: GatewayConfig,
): readonly Degradation[] {
  if (untranslated === "drop" && isSelective) return [];
  const message = isSelective
    ? "what no rule translates does not leave the VPC until a full set is accepted and every rule of it is verified"
    : "nothing is forwarded from the VPC to the outside until every rule is verified";
  const closed: readonly Degradation[] = isClosed ? [{ reason: "GateClosed", message }] : [];
  if (untranslated === "forward") return closed;
  const leaking = "NATGW_UNTRANSLATED=drop has no effect: it needs nf_tables, which this kernel lacks";
  return [...closed, { reason: "UntranslatedForwarded", message: leaking }];
}

const heldBack: Obstacle = {
  condition: "Ready",
  reason: "Pending",
  message: "nothing leaves the VPC until every rule is verified",
};
