/**
 * Checks whether netfilter lets the agent's rules take effect and lets packets pass: whether the chains that jump to
 * the agent's are called, and what foreign rules do before. Foreign rules are named and never changed.
 */
import { type Chunked, forEachChunked, runSync } from "../../chunked.ts";
import { type Memoizer, memory } from "../../memoize.ts";
import type { Degradation } from "../../model/degradation.ts";
import type { Kind, ObjectId } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import type { Chain } from "../../netfilter/chain.ts";
import { counted } from "../../text/quantities.ts";
import { outsideInterfaces } from "../gate/filter-tables.ts";
import { translatingKinds } from "../gate/planner.ts";
import type { PlanInput } from "../plan-input.ts";
import type { NetfilterContext } from "../rules-planner.ts";
import {
  noObstacles,
  type Obstacle,
  type Obstacles,
  type SubsystemPlan,
  type SubsystemPlanner,
  subsystemPlan,
} from "../subsystem.ts";
import { arpDrops } from "./arp.ts";
import { type ForeignRules, findForeignRulesChunked, harmText } from "./foreign-rules.ts";
import type { NetfilterObserved } from "./observed.ts";
import { planSharedChains, type SharedChainsPlan } from "./shared-chains.ts";
import { unmarkingRules } from "./unmarking.ts";

/** @param memoizer with {@link noMemory} the plans are the same, without caching */
export function createNetfilterPlanner(
  memoizer: Memoizer = memory,
): SubsystemPlanner<NetfilterObserved, string> {
  const chainsOf = memoizer.last(allChains);
  function* planChunked(
    { program, facts: { netfilterContext = nothing } }: PlanInput,
    observed: NetfilterObserved,
  ): Chunked<SubsystemPlan<string>> {
    const { hasBackendsTable } = netfilterContext;
    const shared = planSharedChains(netfilterContext.shared, observed);
    const foreign = yield* findForeignRulesChunked(
      program,
      chainsOf(netfilterContext, observed),
      hasBackendsTable,
    );
    return subsystemPlan(shared.steps, () => obstaclesIn(shared, foreign), {
      notices: yield* notices(program, shared, foreign, chainsOf(netfilterContext, observed), observed),
    });
  }
  return {
    name: "netfilter",
    title: "rules of other programs",
    serves: translatingKinds,
    plan: (input, observed) => runSync(planChunked(input, observed)),
    planChunked,
    obstaclesTo(part, observed, { netfilterContext = nothing }) {
      const shared = planSharedChains(netfilterContext.shared, observed);
      const chains = chainsOf(netfilterContext, observed);
      const foreign = runSync(findForeignRulesChunked(part, chains, netfilterContext.hasBackendsTable));
      return runSync(obstaclesIn(shared, foreign));
    },
    reads: ({ program, facts }) => [program, facts.netfilterContext],
  };
}

const nothing: NetfilterContext = { shared: [], chains: [] };

/** Chains read together with the rules are more current than those read separately. */
function allChains({ chains }: NetfilterContext, { foreign }: NetfilterObserved): readonly Chain[] {
  const places = new Set(chains.map(({ place }) => place));
  return [...chains, ...foreign.filter(({ place }) => !places.has(place))];
}

/** Takes a few milliseconds. */
const namedAtOnce = 5_000;

function* obstaclesIn({ faults }: SharedChainsPlan, { harmed }: ForeignRules): Chunked<Obstacles> {
  const objects = new Map<ObjectId, Obstacle>();
  yield* forEachChunked(harmed, namedAtOnce, ([id, harm]) => {
    const message = `${harmText(harm)} its packets`;
    objects.set(id, { condition: "Ready", reason: "ForeignRule", message });
  });
  const kinds = new Map<Kind, Obstacle>();
  for (const { message, kinds: its, isForeign } of faults) {
    const reason = isForeign ? "ForeignRule" : "Pending";
    for (const kind of its) if (!kinds.has(kind)) kinds.set(kind, { condition: "Ready", reason, message });
  }
  return objects.size + kinds.size === 0 ? noObstacles : { objects, kinds };
}

/** Maximum number of rules in a message. The one that harms most objects comes first. */
const maxNamed = 5;

function* notices(
  program: Program,
  { faults }: SharedChainsPlan,
  { found }: ForeignRules,
  allChains: readonly Chain[],
  { foreign: chains }: NetfilterObserved,
): Chunked<readonly Degradation[]> {
  const { family, vpcInterface } = program;
  const outside = chains.length === 0 ? [] : yield* outsideInterfaces(program);
  const rules = [...found].toSorted(([, one], [, other]) => other.objects - one.objects);
  const all = [
    ...(family.hasRuleParser ? [] : [`rules of other programs are not checked for ${family.name}`]),
    ...faults.filter(({ isForeign }) => isForeign).map(({ message }) => `${message}, and has foreign rules`),
    ...rules.map(
      ([text, { objects }]) => `${text} packets${objects === 0 ? "" : ` of ${counted(objects, "object")}`}`,
    ),
    ...(family.hasRuleParser ? unmarkingRules(program, allChains) : []).map(
      (rule) => `${rule} may unmark packets of the VPC, so that pods do not reach each other by EIPs`,
    ),
    ...arpDrops(chains, [vpcInterface, ...outside]),
  ];
  if (all.length === 0) return [];
  const more = all.length > maxNamed ? `; and ${all.length - maxNamed} more` : "";
  return [{ reason: "ForeignRule", message: `${all.slice(0, maxNamed).join("; ")}${more}` }];
}
