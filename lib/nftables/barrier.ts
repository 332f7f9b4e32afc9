/**
 * The guard and the gate as nftables tables of their own, which no flush of a nat table touches.
 *
 * The guard drops what conntrack calls INVALID between VPC and outside: such packets skip NAT and would leave with
 * their inner address. It also keeps live connections alive while the nat table is flushed or gone, which would end every one
 * of them: its `ct state` keeps conntrack hooked, and its empty nat chain, on whichever hook, keeps the kernel translating
 * the packets of the flows that it knows. The gate drops all that would be forwarded from VPC to outside, before conntrack confirms it.
 */

import type { Change } from "../model/change.ts";
import { GatewayError } from "../model/errors.ts";
import type { InterfaceName } from "../model/names.ts";
import { type Program, ruledEips } from "../model/program.ts";

export type BarrierName = "guard" | "gate";

/** The contents of a barrier's table, a line a chain or rule: the chains first, and all rules in that named forward. */
export type BarrierLines = readonly string[];

/** What each table holds; `undefined` where there is no such table. */
export type ObservedBarrier = { readonly [K in BarrierName]: BarrierLines | undefined };

export const barrierTables = { guard: "natgw_guard", gate: "natgw_gate" } as const satisfies Record<
  BarrierName,
  string
>;

const chains = {
  guard: [
    "chain forward { type filter hook forward priority 0; policy accept; }",
    "chain anchor { type nat hook input priority 100; policy accept; }",
  ],
  gate: ["chain forward { type filter hook forward priority -300; policy accept; }"],
} as const satisfies Record<BarrierName, BarrierLines>;
const match = { guard: "ct state invalid drop", gate: "drop" } as const satisfies Record<BarrierName, string>;

/** The interfaces to the outside, in a fixed order: the external one and those that EIPs name. */
export function outsideInterfaces(program: Program): readonly InterfaceName[] {
  const names = new Set([program.externalInterface]);
  for (const eip of ruledEips(program)) names.add(eip.interface);
  for (const pool of program.pools) names.add(pool.interface);
  names.delete(program.vpcInterface);
  return [...names].sort();
}

/** What the barrier's table is to hold. */
export function wantedBarrier(name: BarrierName, program: Program): BarrierLines {
  return [
    ...chains[name],
    ...outsideInterfaces(program).map(
      (outside) => `iifname "${program.vpcInterface}" oifname "${outside}" ${match[name]}`,
    ),
  ];
}

/** True where the gate's table holds anything back. */
export function holdsBack(gate: BarrierLines | undefined): boolean {
  return gate?.some((line) => line.endsWith(" drop")) ?? false;
}

/** What takes the barriers to where they are to be. */
export interface BarrierPlan {
  /** One transaction for `nft -f`; `undefined` where nothing is to be done. */
  readonly input: string | undefined;
  readonly changes: readonly Change[];
}

/** The guard is always there, the gate while it is closed. Planning on the result plans nothing. */
export function planBarrier(program: Program, observed: ObservedBarrier, isGateClosed: boolean): BarrierPlan {
  const parts = [
    planOne("guard", observed.guard, wantedBarrier("guard", program)),
    planOne("gate", observed.gate, isGateClosed ? wantedBarrier("gate", program) : undefined),
  ].filter((part) => part !== undefined);
  return {
    input: parts.length === 0 ? undefined : parts.map(({ input }) => input).join(""),
    changes: parts.map(({ change }) => change),
  };
}

function planOne(
  name: BarrierName,
  observed: BarrierLines | undefined,
  wanted: BarrierLines | undefined,
): { readonly input: string; readonly change: Change } | undefined {
  if (observed?.join("\n") === wanted?.join("\n")) return undefined;
  const action = wanted === undefined ? "remove" : observed === undefined ? "add" : "replace";
  const rules = wanted === undefined ? "" : ` { ${wanted.filter(isRule).join("; ")} }`;
  const text = `table ip ${barrierTables[name]}${rules}`;
  return { input: barrierInput(name, wanted), change: { action, subsystem: name, text } };
}

/** Takes the table away, whatever it held, and makes it anew in the same transaction; `undefined`: it stays away. */
function barrierInput(name: BarrierName, lines: BarrierLines | undefined): string {
  const table = `ip ${barrierTables[name]}`;
  const clear = `add table ${table}\ndelete table ${table}\n`;
  if (lines === undefined) return clear;
  const additions = lines.map((line) =>
    isRule(line)
      ? `add rule ${table} forward ${line}\n`
      : `add ${line.replace("chain ", `chain ${table} `)}\n`,
  );
  return `${clear}add table ${table}\n${additions.join("")}`;
}

function isRule(line: string): boolean {
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
