/** Plans NAT with nftables: one table, a few fixed rules, objects as elements of its maps. */

import { type Chunked, runSync } from "../../chunked.ts";
import { type Memoizer, memory } from "../../memoize.ts";
import type { Family } from "../../model/family.ts";
import type { Ip } from "../../model/ip.ts";
import type { ObjectId } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import { rulesNaming } from "../../netfilter/rules-naming.ts";
import { linesNaming } from "../../nftables/foreign.ts";
import {
  type FilterTablesPart,
  holdsBack,
  mayDropTranslated,
  planFilterTablesChunked,
  planGuardElements,
} from "../gate/filter-tables.ts";
import { outstandingGuard, wantedGuardChunked, withGuardedChunked } from "../guard.ts";
import type { NetfilterContext, RulesPlan, RulesPlanner } from "../rules-planner.ts";
import { compareTableChunked, type ObservedTable } from "./compare.ts";
import { wantedTableChunked } from "./layout.ts";
import { missingElementsChunked } from "./missing.ts";
import type { NftablesObserved } from "./observed.ts";
import { countElements, countFixedRules, eipsNamedChunked } from "./owned.ts";
import { planPart } from "./part.ts";
import type { NftablesPayload, NftablesStep } from "./payload.ts";
import { planTableChunked, type TablePlan } from "./table.ts";

type Plan = RulesPlan<NftablesPayload>;

/**
 * @param family the family of the programs and of the observations
 * @param memoizer with {@link noMemory} the plans are the same, without caching
 */
export function createNftablesPlanner(
  family: Family,
  memoizer: Memoizer = memory,
): RulesPlanner<NftablesObserved, NftablesPayload> {
  const wantedChunked = memoizer.byKeyChunked(wantedTableChunked);
  const wantedOf = (program: Program) => runSync(wantedChunked(program));
  const guardOf = memoizer.byKeyChunked(wantedGuardChunked);
  const eipsOfTable = memoizer.byKeyChunked((table: ObservedTable) => eipsNamedChunked(table, family));
  const withGuarded = memoizer.lastChunked(withGuardedChunked);
  function* eipsOf({ table, filterTables }: NftablesObserved): Chunked<ReadonlySet<Ip>> {
    return yield* withGuarded(yield* eipsOfTable(table), filterTables.elements.eips, family.parse);
  }
  // Planning and judging need the same comparison.
  const compare = memoizer.lastChunked(compareTableChunked);

  function* planChunked(program: Program, observed: NftablesObserved): Chunked<Plan> {
    const wanted = yield* wantedChunked(program);
    const difference = yield* compare(wanted, observed.table);
    yield;
    return toPlan(yield* planTableChunked(wanted, observed.table, difference), observed);
  }

  function* missingChunked(
    program: Program,
    { table }: NftablesObserved,
  ): Chunked<ReadonlyMap<ObjectId, string>> {
    const wanted = yield* wantedChunked(program);
    return yield* missingElementsChunked(wanted, yield* compare(wanted, table));
  }

  return {
    plan: (program, observed) => runSync(planChunked(program, observed)),
    planChunked,
    *planGateChunked(program, observed, gates) {
      const wanted = yield* guardOf(program);
      yield;
      const parts = yield* planFilterTablesChunked(program, wanted, observed.filterTables, gates);
      return parts.map(({ phase, transaction, changes }) => ({
        phase,
        changes,
        payload: { steps: [{ kind: "filterTables", transaction }], base: observed },
      }));
    },
    planPart(from, to, observed, difference) {
      const { elements } = observed.filterTables;
      const guarded = outstandingGuard(difference, (set, key) => elements[set].has(key));
      const { before, after } = planGuardElements(guarded);
      const rules = planPart(wantedOf(from), wantedOf(to), observed.table.elements);
      if (rules === undefined) return undefined;
      return {
        changes: [...(before?.changes ?? []), ...rules.changes, ...(after?.changes ?? [])],
        payload: {
          steps: [
            ...filterTablesSteps(before),
            ...toPlan(rules, observed).payload.steps,
            ...filterTablesSteps(after),
          ],
          base: observed,
        },
      };
    },
    join: (first, second) => ({ ...second, steps: [...first.steps, ...second.steps] }),
    includes: (payload, part) => part.steps.every((step) => payload.steps.includes(step)),
    missing: (program, observed) => runSync(missingChunked(program, observed)),
    missingChunked,
    holdsObjects: ({ table }) => countElements(table) > 0,
    isPristine: ({ table }) => countElements(table) + countFixedRules(table) === 0,
    wasSet: ({ filterTables }) => filterTables.definitions.set !== undefined,
    isGateClosed: ({ filterTables }) => holdsBack(filterTables.definitions.gate),
    isBfdGateClosed: ({ filterTables }) => holdsBack(filterTables.definitions.bfd),
    isGateSelective: () => true,
    mayDropTranslated: (program, { filterTables }) =>
      mayDropTranslated(program, filterTables.definitions.gate),
    eipsNamed: (observed) => runSync(eipsOf(observed)),
    *prepare(observed) {
      yield* eipsOf(observed);
    },
    countRules: ({ table }) => countElements(table) + countFixedRules(table),
    netfilterContext: () => noContext,
    foreignRulesNaming({ foreign }, address, others = []) {
      // nft prints the rules of iptables-nft, too.
      const unlisted = others.filter(({ place }) => place.startsWith("iptables-legacy"));
      return [...linesNaming(foreign, address), ...rulesNaming(unlisted, address)];
    },
  };
}

/** The table has its own chains, which are compared with the rest of it. */
const noContext: NetfilterContext = { shared: [], chains: [] };

function toPlan({ transaction, changes }: TablePlan, base: NftablesObserved): Plan {
  const steps = transaction === undefined ? [] : [{ kind: "table", transaction } as const];
  return { changes, payload: { steps, base } };
}

function filterTablesSteps(part: FilterTablesPart | undefined): readonly NftablesStep[] {
  return part === undefined ? [] : [{ kind: "filterTables", transaction: part.transaction }];
}
