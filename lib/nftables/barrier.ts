/** The tables of guard and gate as text: input for `nft -f`, and output of `nft -j`. */
import { GatewayError } from "../model/errors.ts";

export type BarrierName = "guard" | "gate";

/**
 * The contents of such a table, one line per chain or rule: first the chains, then the rules of the chain `forward`.
 */
export type BarrierLines = readonly string[];

/** What each table holds. `undefined` if the table does not exist. */
export type ObservedBarrier = { readonly [K in BarrierName]: BarrierLines | undefined };

export const barrierTables = { guard: "natgw_guard", gate: "natgw_gate" } as const satisfies Record<
  BarrierName,
  string
>;

/**
 * Input of `nft -f`. Deletes the table, whatever it holds, and creates it again in the same transaction. With
 * `undefined` lines it only deletes the table.
 */
export function barrierInput(name: BarrierName, lines: BarrierLines | undefined): string {
  const table = `ip ${barrierTables[name]}`;
  const clear = `add table ${table}\ndelete table ${table}\n`;
  if (lines === undefined) return clear;
  const additions = lines.map((line) =>
    isBarrierRule(line)
      ? `add rule ${table} forward ${line}\n`
      : `add ${line.replace("chain ", `chain ${table} `)}\n`,
  );
  return `${clear}add table ${table}\n${additions.join("")}`;
}

/** True for a rule, false for a chain. */
export function isBarrierRule(line: string): boolean {
  return !line.startsWith("chain ");
}

/**
 * Parses `nft -j list table ip natgw_…`. Anything that the agent never writes (another chain, a set, another rule, a
 * dormant table) becomes a line of JSON, so it differs from every wanted line. Throws `unreadable` if the text is not
 * such a listing.
 */
export function parseBarrier(json: string): BarrierLines {
  const lines: string[] = [];
  for (const item of listing(json)) {
    if ("chain" in item) lines.push(chainLine(item.chain));
    else if ("rule" in item) lines.push(ruleLine(item.rule));
    else if (asObject(item.table)?.flags !== undefined) lines.push(JSON.stringify(item));
    else if (!("table" in item || "metainfo" in item)) lines.push(JSON.stringify(item));
  }
  return lines;
}

type Json = Readonly<Record<string, unknown>>;

function listing(json: string): readonly Json[] {
  let items: unknown;
  try {
    items = asObject(JSON.parse(json))?.nftables;
  } catch (cause) {
    throw new GatewayError("unreadable", "nft printed a listing that is not JSON", { cause });
  }
  if (!Array.isArray(items) || !items.some((item) => asObject(item)?.table !== undefined))
    throw new GatewayError("unreadable", "nft printed a listing without its table");
  return items.map((item) => asObject(item) ?? { unknown: item });
}

function chainLine(value: unknown): string {
  const { name, type, hook, prio, policy } = asObject(value) ?? {};
  return `chain ${name} { type ${type} hook ${hook} priority ${prio}; policy ${policy}; }`;
}

function ruleLine(value: unknown): string {
  const { chain, expr: expressions } = asObject(value) ?? {};
  if (chain !== "forward" || !Array.isArray(expressions)) return JSON.stringify(value);
  return expressions.map(expressionText).join(" ");
}

function expressionText(expression: unknown): string {
  if (asObject(expression)?.drop === null) return "drop";
  const test = asObject(asObject(expression)?.match);
  const left = asObject(test?.left);
  const meta = asObject(left?.meta)?.key;
  const { op, right } = test ?? {};
  if ((meta === "iifname" || meta === "oifname") && op === "==") return `${meta} ${JSON.stringify(right)}`;
  const isState = asObject(left?.ct)?.key === "state" && (op === "in" || op === "==");
  return isState && right === "invalid" ? "ct state invalid" : JSON.stringify(expression);
}

function asObject(value: unknown): Json | undefined {
  return typeof value === "object" && value !== null ? (value as Json) : undefined;
}
