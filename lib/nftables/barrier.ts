/** The tables of guard and gate as text: what `nft -f` is given to make them, and what `nft -j` lists of them. */
import { GatewayError } from "../model/errors.ts";

export type BarrierName = "guard" | "gate";

/** The contents of a barrier's table, a line a chain or rule: the chains first, and all rules in that named forward. */
export type BarrierLines = readonly string[];

/** What each table holds; `undefined` where there is no such table. */
export type ObservedBarrier = { readonly [K in BarrierName]: BarrierLines | undefined };

export const barrierTables = { guard: "natgw_guard", gate: "natgw_gate" } as const satisfies Record<
  BarrierName,
  string
>;

/** Takes the table away, whatever it held, and makes it anew in the same transaction; `undefined`: it stays away. Input of `nft -f`. */
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

/** True of a line that is a rule, false of one that is a chain. */
export function isBarrierRule(line: string): boolean {
  return !line.startsWith("chain ");
}

/**
 * Reads `nft -j list table ip natgw_…`. What the barrier never holds (another chain, a set, another rule, a table put to sleep) becomes a
 * line of JSON, so that it differs from every wanted line. Throws `unreadable` on anything but such a listing.
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
