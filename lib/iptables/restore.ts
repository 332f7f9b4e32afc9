/** Writes what iptables-restore --noflush reads: the lines of one transaction. */
import type { Rule, TableName } from "./rule.ts";

/** One transaction of one table: all of it is applied, or nothing. */
export function restoreInput(table: TableName, lines: readonly string[]): string {
  return `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}

/** Makes the chain, and empties it where it is there: with --noflush such a line flushes just its own chain. */
export function resetChain(chain: string): string {
  return `:${chain} - [0:0]`;
}

export function appendRule(chain: string, rule: Rule): string {
  return `-A ${chain} ${rule.text}`;
}

/** @param position - from 1 on; the rule now at that position comes after the new one. */
export function insertRule(chain: string, position: number, rule: Rule): string {
  return `-I ${chain} ${position} ${rule.text}`;
}

/** Removes the first rule of the chain that reads as `rule` was read. */
export function deleteRule(chain: string, rule: Rule): string {
  return `-D ${chain} ${rule.raw}`;
}

/** Removes an empty chain that nothing jumps to. */
export function deleteChain(chain: string): string {
  return `-X ${chain}`;
}
