/** Reads what iptables-save prints. */
import { GatewayError } from "../model/errors.ts";
import { parseRule } from "./parse-rule.ts";
import { type Rule, type TableName, tableNames } from "./rule.ts";

/** The rules of each chain of one table, in their order; built-in chains included. */
export type TableRules = ReadonlyMap<string, readonly Rule[]>;

/** What one variant holds. A table that the kernel does not have is absent. */
export type RuleDump = ReadonlyMap<TableName, TableRules>;

/** The text of one table in a dump, from its `*` line to its COMMIT. */
export interface TableText {
  readonly table: TableName;
  readonly text: string;
}

const incompatible = /^# Table `([^']*)' is incompatible/;

/**
 * Takes a dump apart by its tables, without looking at their rules. Tables of other names are passed over.
 *
 * Throws `unreadable` where a table lacks its COMMIT, where something stands between the tables that is no
 * comment, and where a table of `needed` holds what iptables cannot print: iptables-nft-save then says so in a comment, omits
 * the table and exits 0, so that the table would pass for an empty one.
 */
export function splitSave(dump: string, needed: readonly TableName[]): readonly TableText[] {
  const tables: TableText[] = [];
  let at = 0;
  while (at < dump.length) {
    const end = lineEnd(dump, at);
    const line = dump.slice(at, end);
    if (line.startsWith("*")) {
      const close = dump.indexOf("\nCOMMIT\n", at);
      if (close < 0) throw unreadable(`table ${line.slice(1)} ends without its COMMIT`);
      const table = tableNames.find((name) => name === line.slice(1));
      if (table !== undefined) tables.push({ table, text: dump.slice(at, close + 1) });
      at = close + "\nCOMMIT\n".length;
      continue;
    }
    if (line !== "" && !line.startsWith("#")) throw unreadable(`unexpected line: ${line}`);
    const name = incompatible.exec(line)?.[1];
    if (needed.some((table) => table === name))
      throw unreadable(`table ${name} holds rules that iptables cannot read; look at it with nft`);
    at = end + 1;
  }
  return tables;
}

/**
 * Parses one table of {@link splitSave}. Throws `unreadable` at a line that is no chain, rule or comment.
 *
 * @param before - an earlier reading of the table: a rule that is written as it was then is the same value, so that
 *   rereading 30,000 rules of which few changed costs a comparison each.
 */
export function parseTable({ table, text }: TableText, before?: TableRules): TableRules {
  const chains = new Map<string, Rule[]>();
  let name = "";
  let reader: ChainReader | undefined;
  for (let at = lineEnd(text, 0) + 1; at < text.length; ) {
    const end = lineEnd(text, at);
    if (text.startsWith("-A ", at)) {
      const space = text.indexOf(" ", at + 3);
      const stop = space < 0 || space > end ? end : space;
      if (reader === undefined || !isAt(text, name, at + 3, stop)) {
        name = text.slice(at + 3, stop);
        const rules = chains.get(name);
        if (rules === undefined)
          throw unreadable(`table ${table} has a rule in no chain: ${text.slice(at, end)}`);
        reader = new ChainReader(rules, before?.get(name) ?? []);
      }
      reader.read(text, Math.min(stop + 1, end), end);
    } else if (text.startsWith(":", at)) {
      const space = text.indexOf(" ", at);
      if (space < 0 || space > end)
        throw unreadable(`table ${table} has a cut chain line: ${text.slice(at, end)}`);
      chains.set(text.slice(at + 1, space), []);
    } else if (end > at && text[at] !== "#") {
      throw unreadable(`table ${table} has an unexpected line: ${text.slice(at, end)}`);
    }
    at = end + 1;
  }
  return chains;
}

/** Reads a chain's rules alongside an earlier reading, which it follows over single removals and additions. */
class ChainReader {
  readonly #rules: Rule[];
  readonly #before: readonly Rule[];
  #next = 0;

  constructor(rules: Rule[], before: readonly Rule[]) {
    this.#rules = rules;
    this.#before = before;
  }

  read(text: string, from: number, to: number): void {
    for (const ahead of [0, 1]) {
      const known = this.#before[this.#next + ahead];
      if (known === undefined || !isAt(text, known.raw, from, to)) continue;
      this.#next += ahead + 1;
      this.#rules.push(known);
      return;
    }
    this.#rules.push(parseRule(detached(text.slice(from, to))));
  }
}

/** Parses a whole dump: {@link splitSave}, then {@link parseTable} of each. */
export function parseSave(dump: string, needed: readonly TableName[] = tableNames): RuleDump {
  return new Map(splitSave(dump, needed).map((table) => [table.table, parseTable(table)]));
}

/** A copy: a slice would keep the whole dump it was cut from in memory, for as long as the rule is known. */
function detached(slice: string): string {
  return ` ${slice}`.slice(1);
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

function isAt(text: string, word: string, from: number, to: number): boolean {
  return word.length === to - from && text.startsWith(word, from);
}

function unreadable(what: string): GatewayError {
  return new GatewayError("unreadable", `the iptables dump cannot be read: ${what}`);
}
