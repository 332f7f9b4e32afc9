/** Transactions that only delete rules, expressed as rule positions instead of rule texts. */
import { type Chunked, everyNth, forEachChunked, runSync } from "../chunked.ts";
import { linesOf, type Transaction } from "./restore.ts";
import type { Rule, TableName } from "./rule.ts";
import type { RuleDump } from "./save.ts";

/** Rules to delete from one chain. */
export interface ChainRemovals {
  readonly table: TableName;
  readonly chain: string;
  /** Positions of the rules to delete, counted from 0. */
  readonly positions: ReadonlySet<number>;
  /** The number of rules in the chain before the deletion. */
  readonly length: number;
}

/**
 * The rules that a transaction deletes from the chains of `rules`. `undefined` if it does anything else, or if a rule
 * does not exist: then iptables-restore has to decide.
 */
export function removalsOf(
  ...given: Parameters<typeof removalsOfChunked>
): readonly ChainRemovals[] | undefined {
  return runSync(removalsOfChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 3_000;

/** The same in parts. */
export function* removalsOfChunked(
  transaction: Transaction,
  rules: RuleDump,
): Chunked<readonly ChainRemovals[] | undefined> {
  const { table, input } = transaction;
  // A large transaction that adds rules is not split first.
  if (!input.startsWith("-D ", input.indexOf("\n") + 1)) return undefined;
  const leaving = new Map<string, string[]>();
  const isDue = everyNth(lookedAtOnce);
  for (const line of linesOf(transaction)) {
    if (isDue()) yield;
    const [, chain = "", raw = ""] = /^-D (\S+) (.*)$/.exec(line) ?? [];
    if (chain === "") return undefined;
    const texts = leaving.get(chain);
    if (texts === undefined) leaving.set(chain, [raw]);
    else texts.push(raw);
  }
  const removals: ChainRemovals[] = [];
  for (const [chain, texts] of leaving) {
    const held = rules.get(table)?.get(chain) ?? [];
    const positions = yield* findEach(texts, held);
    if (positions === undefined) return undefined;
    removals.push({ table, chain, positions, length: held.length });
  }
  return removals;
}

/** Like `-D`: each text takes the first equal rule that no earlier text has taken. */
function* findEach(
  texts: readonly string[],
  rules: readonly Rule[],
): Chunked<ReadonlySet<number> | undefined> {
  const open = new Map<string, number>();
  yield* forEachChunked(texts, lookedAtOnce, (text) => open.set(text, (open.get(text) ?? 0) + 1));
  const positions = new Set<number>();
  const isDue = everyNth(lookedAtOnce);
  for (const [position, { raw }] of rules.entries()) {
    if (isDue()) yield;
    const left = open.get(raw);
    if (left === undefined || left === 0) continue;
    open.set(raw, left - 1);
    positions.add(position);
  }
  return positions.size === texts.length ? positions : undefined;
}
