/** The steps of accounting, and how they look to people: in the syntax of nft. */
import type { Change } from "../../model/change.ts";
import {
  type AccountingDefinition,
  type AccountingTransaction,
  accountingTable,
  eipSet,
} from "../../nftables/accounting.ts";
import { tableLabel } from "../../nftables/family.ts";

export interface AccountingStep {
  readonly transaction: AccountingTransaction;
  readonly changes: readonly Change[];
}

export const noTransaction: AccountingTransaction = {
  definition: undefined,
  add: [],
  remove: [],
  strays: [],
};

/** A step with what of the transaction is not {@link noTransaction}. */
export function accountingStep(some: Partial<AccountingTransaction>): AccountingStep {
  const transaction = { ...noTransaction, ...some };
  return { transaction, changes: changesOf(transaction) };
}

const table = tableLabel(accountingTable);

function changesOf({ definition, add, remove, strays }: AccountingTransaction): readonly Change[] {
  const changes: Change[] = [];
  const change = (action: Change["action"], text: string) =>
    changes.push({ action, subsystem: "accounting", text });
  if (definition !== undefined) {
    const [action, text] = describe(definition);
    change(action, text);
  }
  if (add.length > 0) change("add", `add element ${table} ${eipSet} { ${listOf(add)} }`);
  if (remove.length > 0) change("remove", `delete element ${table} ${eipSet} { ${listOf(remove)} }`);
  if (strays.length > 0) change("remove", `delete counters of ${table} { ${listOf(strays)} }`);
  return changes;
}

function describe({ make, isReplaced }: NonNullable<AccountingTransaction["definition"]>) {
  if (make === undefined) return ["remove", `delete table ${table}`] as const;
  const action = isReplaced ? "replace" : "add";
  return [action, `${action} table ${table} (${interfacesOf(make)})`] as const;
}

function interfacesOf(definition: AccountingDefinition): string {
  return definition.map(({ name, mtu }) => `${name} mtu ${mtu}`).join(", ");
}

const maxSpelt = 8;

/** Beyond a handful the rest is counted. */
function listOf(eips: readonly string[]): string {
  const more = eips.length - maxSpelt;
  return [...eips.slice(0, maxSpelt), ...(more > 0 ? [`… ${more} more`] : [])].join(", ");
}
