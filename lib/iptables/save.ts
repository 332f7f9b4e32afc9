/** Reads what iptables-save prints. */

import { isSameMap } from "../memoize.ts";
import { GatewayError } from "../model/errors.ts";
import type { Family } from "../model/family.ts";
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
 * @param before - an earlier reading of the table: a rule that is written as it was then is the same value, and so is a
 *   chain whose rules all are, and a table whose chains all are. Rereading 30,000 rules of which few changed costs a
 *   comparison each.
 */
export function parseTable({ table, text }: TableText, family: Family, before?: TableRules): TableRules {
  const readers = new Map<string, ChainReader>();
  let reader: ChainReader | undefined;
  for (let at = lineEnd(text, 0) + 1; at < text.length; ) {
    const next = reader?.follow(text, at);
    if (next !== undefined) {
      at = next;
      continue;
    }
    const end = lineEnd(text, at);
    const line = text.slice(at, end);
    if (line.startsWith("-A ")) {
      if (!reader?.read(line)) {
        reader = readers.get(line.split(" ", 2)[1] ?? "");
        if (!reader?.read(line)) throw unreadable(`table ${table} has a rule in no chain: ${line}`);
      }
    } else if (line.startsWith(":")) {
      const space = line.indexOf(" ");
      if (space < 0) throw unreadable(`table ${table} has a cut chain line: ${line}`);
      const name = line.slice(1, space);
      readers.set(name, new ChainReader(name, family, before?.get(name)));
    } else if (line !== "" && !line.startsWith("#")) {
      throw unreadable(`table ${table} has an unexpected line: ${line}`);
    }
    at = end + 1;
  }
  const chains = new Map([...readers].map(([name, { rules }]) => [name, rules]));
  return before !== undefined && isSameMap(chains, before) ? before : chains;
}

/**
 * Parses the listing of one chain (`iptables -S CHAIN`). Throws `unreadable` at a line that is not of that chain, where
 * the line that names it is missing, and where the last is cut; that whole lines are missing, a listing does not tell.
 */
export function parseChain(
  chain: string,
  text: string,
  family: Family,
  before?: readonly Rule[],
): readonly Rule[] {
  const reader = new ChainReader(chain, family, before);
  const head = text.slice(0, lineEnd(text, 0));
  if (head !== `-N ${chain}` && !head.startsWith(`-P ${chain} `))
    throw unreadable(`the listing of ${chain} begins with: ${head}`);
  if (!text.endsWith("\n")) throw unreadable(`the listing of ${chain} is cut within a line`);
  for (let at = head.length + 1; at < text.length; ) {
    const next = reader.follow(text, at);
    const line = next === undefined ? text.slice(at, lineEnd(text, at)) : "";
    if (next === undefined && !reader.read(line))
      throw unreadable(`the listing of ${chain} has an unexpected line: ${line}`);
    at = next ?? at + line.length + 1;
  }
  return reader.rules;
}

/** Reads a chain's rules alongside an earlier reading, which it follows over removals and additions. */
class ChainReader {
  readonly #start: string;
  readonly #family: Family;
  readonly #before: readonly Rule[];
  readonly #rules: Rule[] = [];
  #next = 0;
  /** Where the earlier reading has each rule; made where it is lost track of. */
  #positions: ReadonlyMap<string, number> | undefined;

  constructor(name: string, family: Family, before: readonly Rule[] = []) {
    this.#family = family;
    this.#start = `-A ${name}`;
    this.#before = before;
  }

  /** The earlier reading itself where it reads the same. */
  get rules(): readonly Rule[] {
    const [rules, before] = [this.#rules, this.#before];
    return rules.length === before.length && rules.every((rule, at) => rule === before[at]) ? before : rules;
  }

  /** Takes the line at `at`, where it is the rule that comes next. @returns where the line after it begins */
  follow(text: string, at: number): number | undefined {
    const known = this.#before[this.#next];
    if (known === undefined || !text.startsWith(this.#start, at)) return undefined;
    const from = at + this.#start.length + 1;
    const end = from + known.raw.length;
    if (text[end] !== "\n" || text[from - 1] !== " " || !text.startsWith(known.raw, from)) return undefined;
    this.#next++;
    this.#rules.push(known);
    return end + 1;
  }

  /** Takes any other line. @returns false where it is no rule of this chain */
  read(line: string): boolean {
    const length = this.#start.length;
    if (!line.startsWith(this.#start) || (line.length > length && line[length] !== " ")) return false;
    // A copy: a slice would keep the whole dump it was cut from in memory, for as long as the rule is known.
    const raw = ` ${line.slice(length + 1)}`.slice(1);
    const at = this.#find(raw);
    const known = at === undefined ? undefined : this.#before[at];
    if (at !== undefined) this.#next = at + 1;
    this.#rules.push(known ?? parseRule(raw, this.#family));
    return true;
  }

  #find(raw: string): number | undefined {
    for (const at of [this.#next, this.#next + 1]) if (this.#before[at]?.raw === raw) return at;
    if (this.#next >= this.#before.length) return undefined;
    this.#positions ??= new Map(this.#before.map((rule, at) => [rule.raw, at]));
    return this.#positions.get(raw);
  }
}

/** Parses a whole dump: {@link splitSave}, then {@link parseTable} of each. */
export function parseSave(dump: string, family: Family, needed: readonly TableName[] = tableNames): RuleDump {
  return new Map(splitSave(dump, needed).map((table) => [table.table, parseTable(table, family)]));
}

/** The chains of `one`, and in their place those that `other` has. */
export function joinDumps(one: RuleDump, other: RuleDump): RuleDump {
  const joined = new Map(one);
  for (const [table, chains] of other) joined.set(table, new Map([...(one.get(table) ?? []), ...chains]));
  return joined;
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end;
}

function unreadable(what: string): GatewayError {
  return new GatewayError("unreadable", `the iptables dump cannot be read: ${what}`);
}
