/** A plan of one table as steps for the driver. */
import type { Chunked } from "../../chunked.ts";
import type { RuleDump } from "../../iptables/save.ts";
import type { Change } from "../../model/change.ts";
import type { WantedTable } from "./layout.ts";
import type { IptablesStep, RulesStep } from "./payload.ts";
import { planBothWaysChunked, type TablePlan } from "./table.ts";

export interface PlannedRules {
  readonly steps: readonly RulesStep[];
  readonly changes: readonly Change[];
}

export function stepsOf({ table, input }: TablePlan): readonly IptablesStep[] {
  return input === undefined ? [] : [{ kind: "rules", transaction: { table, input } }];
}

export function* planRules(wanted: WantedTable, observed: RuleDump): Chunked<PlannedRules> {
  const { table, input, removals, changes } = yield* planBothWaysChunked(wanted, observed.get(wanted.table));
  if (input === undefined) return { steps: [], changes };
  const step: RulesStep = {
    kind: "rules",
    transaction: { table, input },
    ...(removals !== undefined && { removals: { table, input: removals } }),
  };
  return { steps: [step], changes };
}
