/** Drivers and planners in the form that the reconciler used before they were apart. */
import { type Chunked, runSync } from "../../lib/chunked.ts";
import type { Change } from "../../lib/model/change.ts";
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { Program } from "../../lib/model/program.ts";
import { planWithGateChunked } from "../../lib/plan/gate/with-gate.ts";
import type { GateState, RulesPlan } from "../../lib/plan/rules-planner.ts";
import type { Dataplane, PreviousDataplane, RulesDriver } from "./drivers.ts";
import { writeRules } from "./write-rules.ts";

export interface RulePlan<Steps = unknown> {
  readonly changes: readonly Change[];
  readonly steps: Steps;
}

export interface OldDataplane<Observed = unknown, Steps = unknown> {
  readonly backend: RulesDriver["backend"];
  observe(signal: AbortSignal): Promise<Observed>;
  holdsRules(observed: Observed): boolean;
  eipsIn(observed: Observed): ReadonlySet<Ipv4>;
  isGateClosed(observed: Observed): boolean;
  isPristine(observed: Observed): boolean;
  countRules(observed: Observed): number;
  foreignRulesNaming(observed: Observed, address: Ipv4): readonly string[];
  plan(program: Program, observed: Observed, gate: GateState): RulePlan<Steps>;
  planChunked(program: Program, observed: Observed, gate: GateState): Chunked<RulePlan<Steps>>;
  apply(plan: RulePlan<Steps>, signal: AbortSignal): Promise<void>;
  missing(program: Program, observed: Observed): ReadonlyMap<ObjectId, string>;
  readonly shortcut?: OldShortcut<Observed, Steps>;
}

export interface OldShortcut<Observed = unknown, Steps = unknown> {
  current(signal: AbortSignal): Promise<Observed | undefined>;
  base(signal: AbortSignal): Promise<Observed | undefined>;
  planPart(from: Program, to: Program, observed: Observed): RulePlan<Steps>;
  readBack(signal: AbortSignal): Promise<Observed | undefined>;
}

interface OldSteps<Payload> {
  readonly plan: RulesPlan<Payload>;
  readonly whole: { readonly program: Program; readonly gate: GateState } | undefined;
}

export function toOldDataplane<Observed, Payload>(
  dataplane: Dataplane<Observed, Payload>,
): OldDataplane<Observed, OldSteps<Payload>> {
  const { driver, planner } = dataplane;
  const { incremental } = driver;
  function* planChunked(program: Program, observed: Observed, gate: GateState) {
    const plan = yield* planWithGateChunked(planner, program, observed, gate);
    return { changes: plan.changes, steps: { plan, whole: { program, gate } } };
  }
  const shortcut = incremental && {
    current: (signal: AbortSignal) => incremental.verified(signal),
    base: (signal: AbortSignal) => incremental.base(signal),
    readBack: (signal: AbortSignal) => incremental.verify(signal),
    planPart(from: Program, to: Program, observed: Observed) {
      const plan = planner.planPart(from, to, observed);
      return { changes: plan.changes, steps: { plan, whole: undefined } };
    },
  };
  return {
    get backend() {
      return driver.backend;
    },
    observe: (signal) => driver.observe(signal),
    holdsRules: (observed) => planner.holdsObjects(observed),
    eipsIn: (observed) => planner.eipsNamed(observed),
    isGateClosed: (observed) => planner.isGateClosed(observed),
    isPristine: (observed) => planner.isPristine(observed),
    countRules: (observed) => planner.countRules(observed),
    foreignRulesNaming: (observed, address) => planner.foreignRulesNaming(observed, address),
    plan: (program, observed, gate) => runSync(planChunked(program, observed, gate)),
    planChunked,
    async apply({ steps: { plan, whole } }, signal) {
      const replan =
        whole &&
        ((observed: Observed) => runSync(planWithGateChunked(planner, whole.program, observed, whole.gate)));
      await writeRules(dataplane, plan, replan, signal);
    },
    missing: (program, observed) => planner.missing(program, observed),
    ...(shortcut && { shortcut }),
  };
}

export interface OldPreviousDataplane {
  holdsRules(signal: AbortSignal): Promise<boolean>;
  clear(signal: AbortSignal): Promise<readonly Change[]>;
}

export function toOldPrevious(previous: PreviousDataplane): OldPreviousDataplane {
  const { planner } = previous;
  return {
    holdsRules: async (signal) => planner.holdsObjects(await previous.observe(signal)),
    async clear(signal) {
      const { changes, payload } = planner.plan(await previous.observe(signal));
      const outcome = await previous.write(payload, signal);
      if (outcome.kind !== "done") throw outcome.error;
      return changes;
    },
  };
}
