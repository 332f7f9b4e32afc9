/** Plans NAT with nftables: one table, a dozen fixed rules, objects as elements of its maps. */
import { type Chunked, runSync } from "../../chunked.ts";
import { type Memoizer, memory } from "../../memoize.ts";
import type { Family } from "../../model/family.ts";
import type { Program } from "../../model/program.ts";
import { linesNaming } from "../../nftables/foreign.ts";
import { holdsBack, planBarrier } from "../gate/barrier.ts";
import type { RulesBeside, RulesPlan, RulesPlanner } from "../rules-planner.ts";
import { compareTable, type ObservedTable } from "./compare.ts";
import { wantedTable } from "./layout.ts";
import { missingElements } from "./missing.ts";
import type { NftablesObserved } from "./observed.ts";
import { countElements, countFrameRules, eipsNamed } from "./owned.ts";
import { planPart } from "./part.ts";
import type { NftablesPayload } from "./payload.ts";
import { planTable, type TablePlan } from "./table.ts";

type Plan = RulesPlan<NftablesPayload>;

/**
 * @param family the family of the programs and of the observations
 * @param memoizer with {@link noMemory} the plans are the same, without caching
 */
export function createNftablesPlanner(
  family: Family,
  memoizer: Memoizer = memory,
): RulesPlanner<NftablesObserved, NftablesPayload> {
  const wantedOf = memoizer.byKey(wantedTable);
  const eipsOf = memoizer.byKey((table: ObservedTable) => eipsNamed(table, family));
  // Planning and judging need the same comparison.
  const compare = memoizer.last(compareTable);

  function* planChunked(program: Program, observed: NftablesObserved): Chunked<Plan> {
    const wanted = wantedOf(program);
    const difference = compare(wanted, observed.table);
    yield;
    return toPlan(planTable(wanted, observed.table, difference), observed);
  }

  return {
    plan: (program, observed) => runSync(planChunked(program, observed)),
    planChunked,
    planGate(program, observed, gate) {
      const { input, changes } = planBarrier(program, observed.barrier, gate);
      const steps = input === undefined ? [] : [{ kind: "barrier", input } as const];
      return { changes, payload: { steps, base: observed } };
    },
    planPart(from, to, observed) {
      const plan = planPart(wantedOf(from), wantedOf(to), observed.table.elements);
      return plan && toPlan(plan, observed);
    },
    join: (first, second) => ({ ...second, steps: [...first.steps, ...second.steps] }),
    includes: (payload, part) => part.steps.every((step) => payload.steps.includes(step)),
    missing(program, { table }) {
      const wanted = wantedOf(program);
      return missingElements(wanted, compare(wanted, table));
    },
    holdsObjects: ({ table }) => countElements(table) > 0,
    isPristine: ({ table }) => countElements(table) + countFrameRules(table) === 0,
    isGateClosed: ({ barrier }) => holdsBack(barrier.gate),
    eipsNamed: ({ table }) => eipsOf(table),
    countRules: ({ table }) => countElements(table) + countFrameRules(table),
    beside: () => nothingBeside,
    foreignRulesNaming: ({ foreign }, address) => linesNaming(foreign, address),
  };
}

/** The table has its own chains, which are compared with the rest of it. */
const nothingBeside: RulesBeside = { shared: [], chains: [] };

function toPlan({ transaction, changes }: TablePlan, base: NftablesObserved): Plan {
  const steps = transaction === undefined ? [] : [{ kind: "table", transaction } as const];
  return { changes, payload: { steps, base } };
}
