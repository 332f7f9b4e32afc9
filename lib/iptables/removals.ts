/** Transactions that only take rules away, told by where the rules stand and not by what they say. */
import type { Transaction } from "./restore.ts";
import type { Rule, TableName } from "./rule.ts";
import type { RuleDump } from "./save.ts";

/** Rules that go from one chain. */
export interface ChainRemovals {
  readonly table: TableName;
  readonly chain: string;
  /** Of those that go, counted from 0. */
  readonly positions: ReadonlySet<number>;
  /** How many rules the chain has before. */
  readonly length: number;
}

/**
 * What a transaction takes from the chains of `rules`. `undefined` where it does anything else, and where a rule is not
 * there: what becomes of such a transaction is for the tools to say.
 */
export function removalsOf(
  { table, input }: Transaction,
  rules: RuleDump,
): readonly ChainRemovals[] | undefined {
  const leaving = new Map<string, string[]>();
  for (const line of input.trimEnd().split("\n").slice(1, -1)) {
    const [, chain = "", raw = ""] = /^-D (\S+) (.*)$/.exec(line) ?? [];
    if (chain === "") return undefined;
    const texts = leaving.get(chain);
    if (texts === undefined) leaving.set(chain, [raw]);
    else texts.push(raw);
  }
  const removals: ChainRemovals[] = [];
  for (const [chain, texts] of leaving) {
    const held = rules.get(table)?.get(chain) ?? [];
    const positions = findEach(texts, held);
    if (positions === undefined) return undefined;
    removals.push({ table, chain, positions, length: held.length });
  }
  return removals;
}

/** As `-D` does: each text takes the first rule that reads so and that none before it has taken. */
function findEach(texts: readonly string[], rules: readonly Rule[]): ReadonlySet<number> | undefined {
  const open = new Map<string, number>();
  for (const text of texts) open.set(text, (open.get(text) ?? 0) + 1);
  const positions = new Set<number>();
  for (const [position, { raw }] of rules.entries()) {
    const left = open.get(raw);
    if (left === undefined || left === 0) continue;
    open.set(raw, left - 1);
    positions.add(position);
  }
  return positions.size === texts.length ? positions : undefined;
}
