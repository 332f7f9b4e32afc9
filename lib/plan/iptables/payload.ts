/** What an iptables plan gives the driver to write. */
import type { Transaction } from "../../iptables/restore.ts";
import type { RuleDump } from "../../iptables/save.ts";
import type { BackendsTransaction } from "../../nftables/backends.ts";
import type { FilterTablesTransaction } from "../../nftables/filter-tables.ts";

export type IptablesStep =
  | RulesStep
  | { readonly kind: "filterTables"; readonly transaction: FilterTablesTransaction }
  | { readonly kind: "backends"; readonly transaction: BackendsTransaction };

export interface RulesStep {
  readonly kind: "rules";
  readonly transaction: Transaction;
  /** The same change as single deletions, if there are too many for the tool. For a driver that deletes by handle. */
  readonly removals?: Transaction;
}

export interface IptablesPayload {
  /** One transaction each, applied in this order. */
  readonly steps: readonly IptablesStep[];
  /** The owned chains as the next reading should find them. Set if the plan covers a whole program. */
  readonly expected?: RuleDump;
}

export function joinPayloads(first: IptablesPayload, second: IptablesPayload): IptablesPayload {
  const expected = second.expected ?? first.expected;
  return { steps: [...first.steps, ...second.steps], ...(expected && { expected }) };
}

/** True if `payload` contains each transaction of `part` unchanged. */
export function includesSteps(payload: IptablesPayload, part: IptablesPayload): boolean {
  return part.steps.every((one) => payload.steps.some((other) => isSame(one, other)));
}

function isSame(one: IptablesStep, other: IptablesStep): boolean {
  if (one.kind !== "rules" || other.kind !== "rules") return one.transaction === other.transaction;
  const [a, b] = [one.transaction, other.transaction];
  return a.table === b.table && a.input === b.input;
}
