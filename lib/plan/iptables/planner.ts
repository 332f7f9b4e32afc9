/** Plans NAT with iptables, in either of its variants. */

import { type Chunked, forEachChunked, mapChunked, runSync } from "../../chunked.ts";
import type { Rule, TableName } from "../../iptables/rule.ts";
import type { RuleDump } from "../../iptables/save.ts";
import { type Memoizer, memory } from "../../memoize.ts";
import type { Family } from "../../model/family.ts";
import type { Ip } from "../../model/ip.ts";
import type { ObjectId } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import { rulesNaming } from "../../netfilter/rules-naming.ts";
import type { ObservedBackends } from "../../nftables/backends.ts";
import { holdsBack, mayDropTranslated, planFilterTablesChunked } from "../gate/filter-tables.ts";
import { wantedGuardChunked, withGuardedChunked } from "../guard.ts";
import type { GatePart, RulesPlan, RulesPlanner } from "../rules-planner.ts";
import {
  type BackendsPlan,
  type BackendsPlans,
  countBackends,
  eipsOfServicesChunked,
  holdsBackends,
  joinBackends,
  missingBackendsChunked,
  planBackendsChunked,
  planBackendsPart,
  wantedBackendsChunked,
} from "./backends.ts";
import { planFilter, planGuardPart, planNoFilter } from "./guard.ts";
import { type WantedTable, wantedMangle, wantedNatChunked } from "./layout.ts";
import { missingRulesChunked } from "./missing.ts";
import { netfilterContextOf } from "./netfilter-context.ts";
import type { IptablesObserved } from "./observed.ts";
import {
  countOwned,
  eipsNamedChunked,
  foreignRulesNaming,
  guardedInFilter,
  holdsObjects,
  isFilterBfdGateClosed,
  isFilterGateClosed,
  isMarkedSet,
} from "./owned.ts";
import { planPart } from "./part.ts";
import { type IptablesPayload, type IptablesStep, includesSteps, joinPayloads } from "./payload.ts";
import { planRules, stepsOf } from "./steps.ts";

type Plan = RulesPlan<IptablesPayload>;

/**
 * @param family the family of the programs and of the observations
 * @param memoizer with {@link noMemory} the plans are the same, without caching
 */
export function createIptablesPlanner(
  family: Family,
  memoizer: Memoizer = memory,
): RulesPlanner<IptablesObserved, IptablesPayload> {
  const layOutWithTable = memoizer.byKeyChunked((program: Program) => layOut(program, true));
  const layOutRulesOnly = memoizer.byKeyChunked((program: Program) => layOut(program, false));
  const layOutChunked = (program: Program, { backends }: IptablesObserved) =>
    backends === undefined ? layOutRulesOnly(program) : layOutWithTable(program);
  const layOutNow = (program: Program, observed: IptablesObserved) =>
    runSync(layOutChunked(program, observed));
  const backendsChunked = memoizer.byKeyChunked(wantedBackendsChunked);
  const backendsOf = (program: Program) => runSync(backendsChunked(program));
  const guardOf = memoizer.byKeyChunked(wantedGuardChunked);
  const eipsOfRules = memoizer.byKeyChunked((dump: RuleDump) => eipsNamedChunked(dump, family));
  const eipsOfBoth = memoizer.lastChunked(function* (
    rules: RuleDump,
    services: ObservedBackends["elements"],
  ): Chunked<ReadonlySet<Ip>> {
    const ofRules = yield* eipsOfRules(rules);
    const ofServices = yield* eipsOfServicesChunked(services);
    return ofServices.size === 0 ? ofRules : ofRules.union(ofServices);
  });
  const guardedIn = memoizer.byKeyChunked((dump: RuleDump) => guardedInFilter(dump, family));
  const withGuarded = memoizer.lastChunked(withGuardedChunked);
  function* eipsOf({ rules, backends, filterTables }: IptablesObserved): Chunked<ReadonlySet<Ip>> {
    const named =
      backends === undefined ? yield* eipsOfRules(rules) : yield* eipsOfBoth(rules, backends.elements);
    return yield* withGuarded(named, filterTables?.elements.eips ?? (yield* guardedIn(rules)), family.parse);
  }
  const indexChunked = memoizer.byKeyChunked(indexByText);
  const indexOf = (rules: readonly Rule[]) => runSync(indexChunked(rules));
  const contextOf = memoizer.byKeyChunked((observed: IptablesObserved) =>
    netfilterContextOf(observed, family),
  );

  function* planChunked(program: Program, observed: IptablesObserved): Chunked<Plan> {
    const { rules, backends } = observed;
    const layout = yield* layOutChunked(program, observed);
    const mangle = yield* planRules(layout.mangle, rules);
    const nat = yield* planRules(layout.nat, rules);
    const table = backends && (yield* planBackendsChunked(yield* backendsChunked(program), backends));
    yield;
    const plan = aroundRules(table, {
      changes: [...mangle.changes, ...nat.changes],
      steps: [...mangle.steps, ...nat.steps],
    });
    const { steps } = plan.payload;
    const isOfRules = mangle.steps.length + nat.steps.length > 0;
    const expected = isOfRules ? { expected: yield* rulesOf(layout) } : {};
    return { changes: plan.changes, payload: { steps, ...expected } };
  }

  function* missingChunked(
    program: Program,
    observed: IptablesObserved,
  ): Chunked<ReadonlyMap<ObjectId, string>> {
    const { mangle, nat } = yield* layOutChunked(program, observed);
    const { rules, backends } = observed;
    const wanted = backends && (yield* backendsChunked(program));
    const missing = yield* missingRulesChunked(nat, mangle, rules, family, wanted);
    if (backends === undefined || wanted === undefined) return missing;
    const lacking = yield* missingBackendsChunked(wanted, backends);
    return lacking.size === 0 ? missing : new Map([...missing, ...lacking]);
  }

  return {
    plan: (program, observed) => runSync(planChunked(program, observed)),
    planChunked,
    *planGateChunked(program, { rules, filterTables }, gates) {
      const guarded = yield* guardOf(program);
      yield;
      if (filterTables === undefined) return yield* planFilter(program, guarded, rules, gates);
      const planned = yield* planFilterTablesChunked(program, guarded, filterTables, gates);
      const parts: GatePart<IptablesPayload>[] = planned.map(({ phase, transaction, changes }) => ({
        phase,
        changes,
        payload: { steps: [{ kind: "filterTables", transaction }] },
      }));
      const leftover = yield* planNoFilter(rules);
      return leftover === undefined ? parts : [...parts, leftover];
    },
    *preparePart(from, to, observed) {
      const [before, after] = [layOutNow(from, observed).nat, layOutNow(to, observed).nat];
      const { rules } = observed;
      for (const { name, rules: own } of [...before.chains, ...after.chains])
        if (own.length > 0) yield* indexChunked(rules.get("nat")?.get(name) ?? noRules);
    },
    planPart(from, to, observed, difference) {
      const { rules, backends } = observed;
      // Only a full plan reports what this kernel does not support.
      if (backends === undefined && to.dnats.some(({ isSticky }) => isSticky)) return undefined;
      const table = backends && planBackendsPart(backendsOf(from), backendsOf(to), backends);
      if (backends !== undefined && table === undefined) return undefined;
      const find = (table: "nat" | "filter") => (chain: string, text: string) =>
        indexOf(rules.get(table)?.get(chain) ?? noRules).get(text);
      const nat = planPart(layOutNow(from, observed).nat, layOutNow(to, observed).nat, find("nat"));
      const dnats = aroundRules(table, { changes: nat.changes, steps: stepsOf(nat) });
      const guard = planGuardPart(difference, observed, find("filter"));
      return {
        changes: [...guard.changes, ...dnats.changes],
        payload: { steps: [...guard.before, ...dnats.payload.steps, ...guard.after] },
      };
    },
    join: joinPayloads,
    includes: includesSteps,
    missing: (program, observed) => runSync(missingChunked(program, observed)),
    missingChunked,
    unsupported: ({ dnats }, { backends }) =>
      new Map(
        backends === undefined
          ? dnats.flatMap(({ id, isSticky }) => (isSticky ? [[id, noAffinity] as const] : []))
          : [],
      ),
    holdsObjects: ({ rules, backends }) =>
      holdsObjects(rules) || (backends !== undefined && holdsBackends(backends)),
    isPristine: ({ rules, backends }) => countOwned(rules) === 0 && backends?.definition === undefined,
    wasSet: ({ rules, filterTables }) => isMarkedSet(rules) || filterTables?.definitions.set !== undefined,
    isGateClosed: ({ rules, filterTables }) =>
      isFilterGateClosed(rules) || holdsBack(filterTables?.definitions.gate),
    isBfdGateClosed: ({ rules, filterTables }) =>
      isFilterBfdGateClosed(rules) || holdsBack(filterTables?.definitions.bfd),
    isGateSelective: ({ filterTables }) => filterTables !== undefined,
    mayDropTranslated: (program, { rules, filterTables }) =>
      isFilterGateClosed(rules) || mayDropTranslated(program, filterTables?.definitions.gate),
    eipsNamed: (observed) => runSync(eipsOf(observed)),
    *prepare(observed) {
      yield* eipsOf(observed);
      yield* contextOf(observed);
    },
    countRules: ({ rules, backends }) =>
      countOwned(rules) + (backends === undefined ? 0 : countBackends(backends)),
    netfilterContext: (observed) => runSync(contextOf(observed)),
    foreignRulesNaming({ variant, rules }, address, others = []) {
      const own = foreignRulesNaming(rules, address);
      const isListed = new Set(own.map((rule) => `iptables-${variant} ${rule}`));
      return [...own, ...rulesNaming(others, address).filter((rule) => !isListed.has(rule))];
    },
  };
}

const noAffinity = "this kernel has no nf_tables, which sessionAffinity needs";

interface Layout {
  readonly mangle: WantedTable;
  readonly nat: WantedTable;
}

function* layOut(program: Program, hasTable: boolean): Chunked<Layout> {
  return { mangle: wantedMangle(program), nat: yield* wantedNatChunked(program, hasTable) };
}

/**
 * The table of backends around the rules of iptables: a DNAT that moves from one to the other always has a rule in one of them.
 */
function aroundRules(
  table: BackendsPlans | undefined,
  { changes, steps }: { readonly changes: Plan["changes"]; readonly steps: readonly IptablesStep[] },
): Plan {
  if (table === undefined) return { changes, payload: { steps } };
  const { before, after } = steps.length === 0 ? { before: joinBackends(table), after: undefined } : table;
  const step = (plan: BackendsPlan | undefined): readonly IptablesStep[] =>
    plan?.transaction === undefined ? [] : [{ kind: "backends", transaction: plan.transaction }];
  return {
    changes: [...before.changes, ...changes, ...(after?.changes ?? [])],
    payload: { steps: [...step(before), ...steps, ...step(after)] },
  };
}

function* rulesOf({ mangle, nat }: Layout): Chunked<RuleDump> {
  const dump = new Map<TableName, Map<string, readonly Rule[]>>();
  for (const { table, chains } of [mangle, nat]) {
    const rulesOfTable = new Map<string, readonly Rule[]>();
    for (const { name, rules } of chains)
      rulesOfTable.set(name, yield* mapChunked(rules, lookedAtOnce, ({ rule }) => rule));
    dump.set(table, rulesOfTable);
  }
  return dump;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 10_000;

const noRules: readonly Rule[] = [];

function* indexByText(rules: readonly Rule[]): Chunked<ReadonlyMap<string, Rule>> {
  const index = new Map<string, Rule>();
  yield* forEachChunked(rules, indexedAtOnce, (rule) => index.set(rule.text, rule));
  return index;
}

/** Takes a few milliseconds. */
const indexedAtOnce = 4_000;
