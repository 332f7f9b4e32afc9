/** Guard and gates beside the rules of iptables: tables of nftables, or chains of filter where there is no nft. */
import type { Chunked } from "../../chunked.ts";
import type { RuleDump } from "../../iptables/save.ts";
import type { Change } from "../../model/change.ts";
import type { Program } from "../../model/program.ts";
import type { GuardElements } from "../../nftables/sets.ts";
import { type FilterTablesPart, planGuardElements } from "../gate/filter-tables.ts";
import type { GateContext, Gates } from "../gate-state.ts";
import { type GuardDifference, outstandingGuard } from "../guard.ts";
import type { GatePart } from "../rules-planner.ts";
import { planFilterPart, planFilterRemovals, wantedFilterChunked, wantedNoFilter } from "./filter.ts";
import { findGuard } from "./guard-chains.ts";
import type { IptablesObserved } from "./observed.ts";
import { isFilterBfdGateClosed, isFilterGateClosed } from "./owned.ts";
import type { FindRule } from "./part.ts";
import type { IptablesPayload, IptablesStep } from "./payload.ts";
import { planRules, stepsOf } from "./steps.ts";

export function* planFilter(
  program: Program,
  guarded: GuardElements,
  rules: RuleDump,
  gates: GateContext,
): Chunked<readonly GatePart<IptablesPayload>[]> {
  const held = rules.get("filter") ?? new Map();
  const wanted = yield* wantedFilterChunked(program, guarded, gates, held);
  const { steps, changes } = yield* planRules(wanted, rules);
  const removals = yield* planFilterRemovals(guarded, held);
  const found: Gates = {
    gate: isFilterGateClosed(rules) ? "closed" : "open",
    bfd: isFilterBfdGateClosed(rules) ? "closed" : "open",
  };
  const isAny = (one: Gates, other: Gates) =>
    (one.gate === "open" && other.gate === "closed") || (one.bfd === "open" && other.bfd === "closed");
  const phase = isAny(gates, found) && !isAny(found, gates) ? "opening" : "gate";
  const parts: readonly GatePart<IptablesPayload>[] = [
    { phase, changes, payload: { steps } },
    { phase: "removals", changes: removals.changes, payload: { steps: stepsOf(removals) } },
  ];
  return parts.filter((part) => part.changes.length > 0);
}

export function planGuardPart(
  difference: GuardDifference,
  { filterTables }: IptablesObserved,
  find: FindRule,
): { before: readonly IptablesStep[]; after: readonly IptablesStep[]; changes: readonly Change[] } {
  if (filterTables === undefined) {
    const guarded = outstandingGuard(difference, (set, key) => findGuard(set, key, find) !== undefined);
    const plan = planFilterPart(guarded, find);
    return { before: stepsOf(plan), after: [], changes: plan.changes };
  }
  const { elements } = filterTables;
  const guarded = outstandingGuard(difference, (set, key) => elements[set].has(key));
  const { before, after } = planGuardElements(guarded);
  const step = (part: FilterTablesPart | undefined): readonly IptablesStep[] =>
    part === undefined ? [] : [{ kind: "filterTables", transaction: part.transaction }];
  return {
    before: step(before),
    after: step(after),
    changes: [...(before?.changes ?? []), ...(after?.changes ?? [])],
  };
}

/** What stood in filter before guard and gate were tables; it goes once these are there. */
export function* planNoFilter(rules: RuleDump): Chunked<GatePart<IptablesPayload> | undefined> {
  const { steps, changes } = yield* planRules(wantedNoFilter, rules);
  return changes.length === 0 ? undefined : { phase: "gate", changes, payload: { steps } };
}
