/** Parses the output of iptables-save. */

import { type Chunked, everyNth, runSync } from "../chunked.ts";
import { isSameMap } from "../memoize.ts";
import { GatewayError } from "../model/errors.ts";
import type { Family } from "../model/family.ts";
import { parseRule } from "./parse-rule.ts";
import { type Rule, type TableName, tableNames } from "./rule.ts";

/** The rules of each chain of one table, in order, including built-in chains. */
export type TableRules = ReadonlyMap<string, readonly Rule[]>;

/** All tables of one iptables variant. A table that the kernel does not have is absent. */
export type RuleDump = ReadonlyMap<TableName, TableRules>;

/** The text of one table in a dump, from its `*` line to its COMMIT. */
export interface TableText {
  readonly table: TableName;
  readonly text: string;
}

const incompatible = /^# Table `([^']*)' is incompatible/;

/**
 * Splits a dump into its tables without parsing rules. Skips tables with other names.
 *
 * Throws `unreadable` if a table has no COMMIT, if there is a line between tables that is not a comment, or if a table
 * of `needed` has rules that iptables cannot print. In the last case iptables-nft-save prints a comment, omits the
 * table and exits 0, so the table would look empty.
 */
export function splitSave(dump: string, needed: readonly TableName[]): readonly TableText[] {
  const tables: TableText[] = [];
  let at = 0;
  while (at < dump.length) {
    const end = lineEnd(dump, at);
    const line = dump.slice(at, end);
    if (line.startsWith("*")) {
      const close = dump.indexOf("\nCOMMIT\n", at);
      if (close < 0) throw unreadable(`table ${line.slice(1)} has no COMMIT line`);
      const table = tableNames.find((name) => name === line.slice(1));
      if (table !== undefined) tables.push({ table, text: dump.slice(at, close + 1) });
      at = close + "\nCOMMIT\n".length;
      continue;
    }
    if (line !== "" && !line.startsWith("#")) throw unreadable(`unexpected line: ${line}`);
    const name = incompatible.exec(line)?.[1];
    if (needed.some((table) => table === name))
      throw unreadable(`table ${name} holds rules that iptables cannot read; inspect it with nft`);
    at = end + 1;
  }
  return tables;
}

/**
 * Parses one table of {@link splitSave}. Throws `unreadable` at a line that is no chain, rule or comment.
 *
 * @param before - an earlier reading of the table. An unchanged rule, chain or table becomes the same object as before,
 * so rereading 30,000 rules with few changes costs one comparison per rule.
 */
export function parseTable(...given: Parameters<typeof parseTableChunked>): TableRules {
  return runSync(parseTableChunked(...given));
}

/** Takes a few milliseconds. */
const parsedAtOnce = 2_000;

/** The same in parts. */
export function* parseTableChunked(
  { table, text }: TableText,
  family: Family,
  before?: TableRules,
): Chunked<TableRules> {
  const readers = new Map<string, ChainReader>();
  let reader: ChainReader | undefined;
  const isDue = everyNth(parsedAtOnce);
  for (let at = lineEnd(text, 0) + 1; at < text.length; ) {
    if (isDue()) yield;
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
        if (!reader?.read(line)) throw unreadable(`table ${table} has a rule without a chain: ${line}`);
      }
    } else if (line.startsWith(":")) {
      const space = line.indexOf(" ");
      if (space < 0) throw unreadable(`table ${table} has a truncated chain line: ${line}`);
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
 * Parses the listing of one chain (`iptables -S CHAIN`). Throws `unreadable` if a line belongs to another chain, if the
 * line that names the chain is missing, or if the last line is truncated. A listing does not show whether whole lines
 * are missing.
 */
export function parseChain(...given: Parameters<typeof parseChainChunked>): readonly Rule[] {
  return runSync(parseChainChunked(...given));
}

/** The same in parts. */
export function* parseChainChunked(
  chain: string,
  text: string,
  family: Family,
  before?: readonly Rule[],
): Chunked<readonly Rule[]> {
  const reader = new ChainReader(chain, family, before);
  const head = text.slice(0, lineEnd(text, 0));
  if (head !== `-N ${chain}` && !head.startsWith(`-P ${chain} `))
    throw unreadable(`the listing of ${chain} begins with: ${head}`);
  if (!text.endsWith("\n")) throw unreadable(`the listing of ${chain} is truncated within a line`);
  const isDue = everyNth(parsedAtOnce);
  for (let at = head.length + 1; at < text.length; ) {
    if (isDue()) yield;
    const next = reader.follow(text, at);
    const line = next === undefined ? text.slice(at, lineEnd(text, at)) : "";
    if (next === undefined && !reader.read(line))
      throw unreadable(`the listing of ${chain} has an unexpected line: ${line}`);
    at = next ?? at + line.length + 1;
  }
  return reader.rules;
}

/** Parses the rules of a chain next to an earlier reading, and follows it across removed and added rules. */
class ChainReader {
  readonly #start: string;
  readonly #family: Family;
  readonly #before: readonly Rule[];
  readonly #rules: Rule[] = [];
  #next = 0;
  /** Positions of the rules in the earlier reading. Built when the two readings diverge. */
  #positions: ReadonlyMap<string, number> | undefined;

  constructor(name: string, family: Family, before: readonly Rule[] = []) {
    this.#family = family;
    this.#start = `-A ${name}`;
    this.#before = before;
  }

  /** The rules. If nothing changed, the array of the earlier reading. */
  get rules(): readonly Rule[] {
    const [rules, before] = [this.#rules, this.#before];
    return rules.length === before.length && rules.every((rule, at) => rule === before[at]) ? before : rules;
  }

  /**
   * Accepts the line at `at` if it is the next rule of the earlier reading.
   * @returns where the next line begins
   */
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

  /**
   * Parses any other line.
   * @returns false if it is not a rule of this chain
   */
  read(line: string): boolean {
    const length = this.#start.length;
    if (!line.startsWith(this.#start) || (line.length > length && line[length] !== " ")) return false;
    // Copy the string: a slice keeps the whole dump in memory for as long as the rule exists.
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

/** Parses a whole dump: {@link splitSave}, then {@link parseTable} for each table. */
export function parseSave(dump: string, family: Family, needed: readonly TableName[] = tableNames): RuleDump {
  return new Map(splitSave(dump, needed).map((table) => [table.table, parseTable(table, family)]));
}

/** The chains of `one`, replaced by those of `other` where it has them. */
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
  return new GatewayError("unreadable", `cannot parse the iptables dump: ${what}`);
}
