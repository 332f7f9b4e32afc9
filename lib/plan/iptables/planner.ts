/** Plans NAT with iptables, in either of its variants. */
import { type Chunked, runSync } from "../../chunked.ts";
import type { Rule } from "../../iptables/rule.ts";
import type { RuleDump } from "../../iptables/save.ts";
import { type Memoizer, memory } from "../../memoize.ts";
import type { Family } from "../../model/family.ts";
import type { Program } from "../../model/program.ts";
import { holdsBack, planBarrier } from "../gate/barrier.ts";
import type { GateState, RulesPlan, RulesPlanner } from "../rules-planner.ts";
import { rulesBeside } from "./beside.ts";
import { type WantedTable, wantedFilter, wantedMangle, wantedNatChunked } from "./layout.ts";
import { missingRules } from "./missing.ts";
import type { IptablesObserved } from "./observed.ts";
import { countOwned, eipsNamed, foreignRulesNaming, holdsObjects, isFilterGateClosed } from "./owned.ts";
import { planPart } from "./part.ts";
import { type IptablesPayload, type IptablesStep, includesSteps, joinPayloads } from "./payload.ts";
import { planBothWaysChunked } from "./table.ts";

type Plan = RulesPlan<IptablesPayload>;

/**
 * @param family the family of the programs and of the observations
 * @param memoizer with {@link noMemory} the plans are the same, without caching
 */
export function createIptablesPlanner(
  family: Family,
  memoizer: Memoizer = memory,
): RulesPlanner<IptablesObserved, IptablesPayload> {
  const layOutChunked = memoizer.byKeyChunked(layOut);
  const layOutNow = (program: Program) => runSync(layOutChunked(program));
  const eipsOf = memoizer.byKey((dump: RuleDump) => eipsNamed(dump, family));
  const indexOf = memoizer.byKey(indexByText);
  const besideOf = memoizer.byKey((observed: IptablesObserved) => rulesBeside(observed, family));

  function* planChunked(program: Program, { rules }: IptablesObserved): Chunked<Plan> {
    const layout = yield* layOutChunked(program);
    const mangle = yield* planRules(layout.mangle, rules);
    const nat = yield* planRules(layout.nat, rules);
    const steps = [...mangle.steps, ...nat.steps];
    const expected = steps.length === 0 ? {} : { expected: rulesOf(layout) };
    return { changes: [...mangle.changes, ...nat.changes], payload: { steps, ...expected } };
  }

  return {
    plan: (program, observed) => runSync(planChunked(program, observed)),
    planChunked,
    planGate(program, { rules, barrier }, gate) {
      if (barrier === undefined) return planFilter(program, rules, gate);
      const { input, changes } = planBarrier(program, barrier, gate);
      return { changes, payload: { steps: input === undefined ? [] : [{ kind: "barrier", input }] } };
    },
    planPart(from, to, { rules }) {
      const find = (chain: string, text: string) =>
        indexOf(rules.get("nat")?.get(chain) ?? noRules).get(text);
      const { table, input, changes } = planPart(layOutNow(from).nat, layOutNow(to).nat, find);
      const steps: IptablesStep[] =
        input === undefined ? [] : [{ kind: "rules", transaction: { table, input } }];
      return { changes, payload: { steps } };
    },
    join: joinPayloads,
    includes: includesSteps,
    missing(program, { rules }) {
      const { mangle, nat } = layOutNow(program);
      return missingRules(nat, mangle, rules, family);
    },
    holdsObjects: ({ rules }) => holdsObjects(rules),
    isPristine: ({ rules }) => countOwned(rules) === 0,
    isGateClosed: ({ rules, barrier }) =>
      barrier === undefined ? isFilterGateClosed(rules) : holdsBack(barrier.gate),
    eipsNamed: ({ rules }) => eipsOf(rules),
    countRules: ({ rules }) => countOwned(rules),
    beside: besideOf,
    foreignRulesNaming: ({ rules }, address) => foreignRulesNaming(rules, address),
  };
}

interface Layout {
  readonly mangle: WantedTable;
  readonly nat: WantedTable;
}

function* layOut(program: Program): Chunked<Layout> {
  return { mangle: wantedMangle(program), nat: yield* wantedNatChunked(program) };
}

function rulesOf({ mangle, nat }: Layout): RuleDump {
  return new Map(
    [mangle, nat].map(({ table, chains }) => [
      table,
      new Map(chains.map(({ name, rules }) => [name, rules.map(({ rule }) => rule)])),
    ]),
  );
}

const noRules: readonly Rule[] = [];

function indexByText(rules: readonly Rule[]): ReadonlyMap<string, Rule> {
  return new Map(rules.map((rule) => [rule.text, rule]));
}

function planFilter(program: Program, rules: RuleDump, gate: GateState): Plan {
  const { steps, changes } = runSync(planRules(wantedFilter(program, gate === "closed"), rules));
  return { changes, payload: { steps } };
}

function* planRules(wanted: WantedTable, observed: RuleDump) {
  const { table, input, removals, changes } = yield* planBothWaysChunked(wanted, observed.get(wanted.table));
  if (input === undefined) return { steps: [], changes };
  const step: IptablesStep = {
    kind: "rules",
    transaction: { table, input },
    ...(removals !== undefined && { removals: { table, input: removals } }),
  };
  return { steps: [step], changes };
}
