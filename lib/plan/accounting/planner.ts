/** The accounting subsystem: the table that counts the traffic of each EIP. */
import { type Chunked, filterChunked, runSync } from "../../chunked.ts";
import type { ObservedAccounting } from "../../nftables/accounting.ts";
import { isSameDefinition } from "../../nftables/definition-lines.ts";
import { accountingLines } from "../../nftables/encode-accounting.ts";
import { catchAll } from "../../nftables/maps.ts";
import type { PlanInput } from "../plan-input.ts";
import { type SubsystemPlan, type SubsystemPlanner, subsystemPlan } from "../subsystem.ts";
import { type AccountingStep, accountingStep } from "./steps.ts";
import { type WantedAccounting, wantedAccounting } from "./wanted.ts";

/**
 * Plans no obstacles: an object works without being counted.
 *
 * @param isWanted false: nothing is counted
 */
export function accountingPlanner(
  isWanted: boolean,
): SubsystemPlanner<ObservedAccounting | undefined, AccountingStep> {
  function* planChunked(
    { program, facts }: Pick<PlanInput, "program" | "facts">,
    observed: ObservedAccounting | undefined,
  ): Chunked<SubsystemPlan<AccountingStep>> {
    if (observed === undefined) return subsystemPlan([]);
    const wanted = isWanted ? yield* wantedAccounting(program, facts.network) : notWanted;
    const { build, remove } = yield* compareAccounting(wanted, observed);
    return subsystemPlan([
      ...build.map((payload) => ({ phase: "routes" as const, changes: payload.changes, payload })),
      ...remove.map((payload) => ({ phase: "removals" as const, changes: payload.changes, payload })),
    ]);
  }
  return {
    name: "accounting",
    title: "the counters of EIPs",
    serves: [],
    plan: (input, observed) => runSync(planChunked(input, observed)),
    planChunked,
    planEips: (program, observed, facts) => runSync(planChunked({ program, facts }, observed)),
    reads: ({ program, facts }) => [program, facts.network],
  };
}

const notWanted: WantedAccounting = { definition: undefined, eips: new Set() };

/** Takes a few milliseconds. */
const comparedAtOnce = 10_000;

interface AccountingDifference {
  readonly build: readonly AccountingStep[];
  readonly remove: readonly AccountingStep[];
}

function* compareAccounting(
  { definition, eips }: WantedAccounting,
  observed: ObservedAccounting,
): Chunked<AccountingDifference> {
  const isPresent = observed.definition !== undefined;
  if (definition === undefined) {
    const removal = accountingStep({ definition: { make: undefined, isReplaced: true } });
    return { build: [], remove: isPresent ? [removal] : [] };
  }
  // An element for every other address is never ours, and cannot be deleted like one with a key.
  const isSame =
    isSameDefinition(observed.definition, accountingLines(definition)) && !observed.eips.has(catchAll);
  if (!isSame) {
    const make = { make: definition, isReplaced: isPresent };
    return { build: [accountingStep({ definition: make, add: [...eips] })], remove: [] };
  }
  const add = yield* filterChunked(eips, comparedAtOnce, (eip) => !observed.eips.has(eip));
  const remove = yield* filterChunked(observed.eips, comparedAtOnce, (eip) => !eips.has(eip));
  const strays = [...observed.strays].filter((eip) => !eips.has(eip));
  return {
    build: add.length === 0 ? [] : [accountingStep({ add })],
    remove: remove.length + strays.length === 0 ? [] : [accountingStep({ remove, strays })],
  };
}
