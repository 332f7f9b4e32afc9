/** Writes the input of `iptables-restore --noflush`. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import type { Rule, TableName } from "./rule.ts";
import type { RuleDump } from "./save.ts";

/** The input of iptables-restore for one table. */
export interface Transaction {
  readonly table: TableName;
  readonly input: string;
}

/** One transaction on one table. The kernel applies all of it or nothing. */
export function restoreInput(table: TableName, lines: readonly string[]): string {
  return runSync(restoreInputChunked(table, lines));
}

/** Takes a few milliseconds. */
const joinedAtOnce = 5_000;

/** The same in parts. */
export function* restoreInputChunked(table: TableName, lines: readonly string[]): Chunked<string> {
  const parts: string[] = [];
  for (let from = 0; from < lines.length; from += joinedAtOnce) {
    if (from > 0) yield;
    parts.push(lines.slice(from, from + joinedAtOnce).join("\n"));
  }
  return `*${table}\n${parts.join("\n")}\nCOMMIT\n`;
}

/** Creates the chain, or flushes it if it exists. With --noflush such a line flushes only its own chain. */
export function resetChain(chain: string): string {
  return `:${chain} - [0:0]`;
}

export function appendRule(chain: string, rule: Rule): string {
  return `-A ${chain} ${rule.text}`;
}

/** @param position - from 1. The rule now at that position moves behind the new one. */
export function insertRule(chain: string, position: number, rule: Rule): string {
  return `-I ${chain} ${position} ${rule.text}`;
}

/** Deletes the first rule in the chain with the text that `rule` had when it was read. */
export function deleteRule(chain: string, rule: Rule): string {
  return `-D ${chain} ${rule.raw}`;
}

/** Deletes an empty chain that nothing jumps to. */
export function deleteChain(chain: string): string {
  return `-X ${chain}`;
}

/** A chain in which transactions add or delete single rules. */
export interface EditedChain {
  readonly table: TableName;
  readonly chain: string;
  /** Number of rules added minus number of rules deleted. */
  readonly growth: number;
}

const growthOf: Readonly<Record<string, number>> = { "-A": 1, "-I": 1, "-D": -1 };

/** The lines between the one that names the table and COMMIT. */
export function* linesOf({ input }: Transaction): Generator<string> {
  for (let from = input.indexOf("\n") + 1; from > 0; ) {
    const end = input.indexOf("\n", from);
    const line = end < 0 ? input.slice(from) : input.slice(from, end);
    if (line === "COMMIT") return;
    yield line;
    from = end + 1;
  }
}

/** The chains that transactions change by single rules. `undefined` if one creates, flushes or deletes a chain. */
export function editedChains(transactions: readonly Transaction[]): readonly EditedChain[] | undefined {
  return runSync(editedChainsChunked(transactions));
}

/** Takes a few milliseconds. */
const readAtOnce = 3_000;

/** The same in parts. */
export function* editedChainsChunked(
  transactions: readonly Transaction[],
): Chunked<readonly EditedChain[] | undefined> {
  const edited = new Map<string, EditedChain>();
  const isDue = everyNth(readAtOnce);
  for (const transaction of transactions) {
    const { table, input } = transaction;
    if (input.includes("\n:")) return undefined;
    for (const line of linesOf(transaction)) {
      if (isDue()) yield;
      const [command = "", chain = ""] = line.split(" ", 2);
      const growth = growthOf[command];
      if (growth === undefined) return undefined;
      const key = `${table} ${chain}`;
      edited.set(key, { table, chain, growth: growth + (edited.get(key)?.growth ?? 0) });
    }
  }
  return [...edited.values()];
}

/** True if two readings differ only in the edited chains, and there by exactly the number of rules that each grows. */
export function differsByEdits(before: RuleDump, after: RuleDump, edited: readonly EditedChain[]): boolean {
  const growths = new Map(edited.map(({ table, chain, growth }) => [`${table} ${chain}`, growth]));
  const isAsEdited = (table: TableName, chain: string, rules: readonly Rule[]) => {
    const were = before.get(table)?.get(chain);
    const growth = growths.get(`${table} ${chain}`);
    if (were === undefined || growth === undefined) return rules === were;
    return rules.length === were.length + growth;
  };
  return (
    before.size === after.size &&
    [...after].every(
      ([table, chains]) =>
        chains.size === before.get(table)?.size &&
        [...chains].every(([chain, rules]) => isAsEdited(table, chain, rules)),
    )
  );
}
