/** Transactions that only append a few rules, as rules instead of text. */
import type { Family } from "../model/family.ts";
import { parseRule } from "./parse-rule.ts";
import { linesOf, type Transaction } from "./restore.ts";
import type { Rule, TableName } from "./rule.ts";

/** Rules to append to one chain, in order. */
export interface ChainAdditions {
  readonly table: TableName;
  readonly chain: string;
  readonly rules: readonly Rule[];
}

/** More rules are cheaper by the tool. */
const maxRules = 16;

/** What a transaction appends to each chain. `undefined` if it does anything else, or appends many rules. */
export function additionsOf(
  { table, input }: Transaction,
  family: Family,
): readonly ChainAdditions[] | undefined {
  const byChain = new Map<string, Rule[]>();
  let count = 0;
  for (const line of linesOf({ table, input })) {
    const [, chain = "", text = ""] = /^-A (\S+) (.*)$/.exec(line) ?? [];
    if (chain === "" || ++count > maxRules) return undefined;
    const rules = byChain.get(chain) ?? [];
    rules.push(parseRule(text, family));
    byChain.set(chain, rules);
  }
  return [...byChain].map(([chain, rules]) => ({ table, chain, rules }));
}
