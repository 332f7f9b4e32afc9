/** What a plan of iptables gives the driver to write. */
import type { Transaction } from "../../iptables/restore.ts";
import type { RuleDump } from "../../iptables/save.ts";

export type IptablesStep = RulesStep | { readonly kind: "barrier"; readonly input: string };

export interface RulesStep {
  readonly kind: "rules";
  readonly transaction: Transaction;
  /** The same by single deletions, where they are more than the tool does well: for a driver that deletes by handle. */
  readonly removals?: Transaction;
}

export interface IptablesPayload {
  /** One transaction each, in this order. */
  readonly steps: readonly IptablesStep[];
  /** The owned chains as the next reading finds them, where the plan is of a whole program. */
  readonly expected?: RuleDump;
}

export function joinPayloads(first: IptablesPayload, second: IptablesPayload): IptablesPayload {
  const expected = second.expected ?? first.expected;
  return { steps: [...first.steps, ...second.steps], ...(expected && { expected }) };
}

/** True where `payload` gives the tool each transaction of `part`. */
export function includesSteps(payload: IptablesPayload, part: IptablesPayload): boolean {
  return part.steps.every((one) => payload.steps.some((other) => isSame(one, other)));
}

function isSame(one: IptablesStep, other: IptablesStep): boolean {
  if (one.kind !== "rules" || other.kind !== "rules") {
    return one.kind === "barrier" && other.kind === "barrier" && one.input === other.input;
  }
  const [a, b] = [one.transaction, other.transaction];
  return a.table === b.table && a.input === b.input;
}
