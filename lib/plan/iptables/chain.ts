/**
 * Plans one owned chain: single lines if few rules differ, else the whole chain is rewritten in the same transaction.
 */
import { appendRule, deleteRule, insertRule, resetChain } from "../../iptables/restore.ts";
import type { Rule } from "../../iptables/rule.ts";
import type { Change, ChangeLabel } from "../../model/change.ts";
import { type ChainDifference, compareChain, isAsWanted } from "./compare.ts";
import type { WantedChain, WantedRule } from "./layout.ts";
import { NetworkIndex } from "./networks.ts";
import { ownedChains } from "./owned.ts";

/** Number of single lines of one chain that cost about as much as rewriting the chain. */
export interface EditLimits {
  /** For a table that also gets rules. */
  readonly lines: number;
  /** For a table that only loses rules. */
  readonly deletes: number;
}

/**
 * iptables-nft searches the chain by text for each rule that it deletes (100 of 10,000: 1.9 s; rewriting the chain: 0.2
 * s).
 */
export const editsByTool: EditLimits = { lines: 35, deletes: 35 };
/** The kernel also searches the chain for each handle (500 of 10,000: 35 ms; 2,000: 160 ms). */
export const editsByHandle: EditLimits = { ...editsByTool, deletes: 1_000 };

/** A part of the lines of one transaction. All `resets` come before all lines, because a jump needs its chain. */
export interface LinesPlan {
  readonly resets: readonly string[];
  readonly lines: readonly string[];
  readonly changes: readonly Change[];
}

/** A part without work. */
export const nothing: LinesPlan = { resets: [], lines: [], changes: [] };

/**
 * @param observed - `undefined` if the chain does not exist
 * @param maxDeletes - maximum number of single deletions; insertions are always limited by {@link editsByTool}
 */
export function planChain(
  wanted: WantedChain,
  observed: readonly Rule[] | undefined,
  maxDeletes: number,
): LinesPlan {
  if (observed !== undefined && isAsWanted(wanted, observed)) return nothing;
  const difference = compareChain(wanted, observed ?? []);
  if (observed === undefined) return rewrite(wanted, difference, "add");
  const { surplus, absent, misplaced } = difference;
  if (surplus.length + absent.length + misplaced.size === 0) return nothing;
  const edits = wanted.order === "exact" ? undefined : planEdits(wanted, difference, maxDeletes);
  return edits ?? rewrite(wanted, difference, misplaced.size > 0 ? "replace" : undefined);
}

/** The subsystem that a chain belongs to. */
export function subsystemOf(chain: string): ChangeLabel {
  if (["NATGW_GATE", "NATGW_BFD_IN", "NATGW_BFD_OUT"].includes(chain)) return "gate";
  return ownedChains.filter.includes(chain) ? "guard" : "rule";
}

function rewrite(
  { name, rules }: WantedChain,
  { surplus, absent }: ChainDifference,
  whole: Change["action"] | undefined,
): LinesPlan {
  const subsystem = subsystemOf(name);
  const reset = resetChain(name);
  return {
    resets: [reset],
    lines: rules.map(({ rule }) => appendRule(name, rule)),
    changes: [
      ...(whole === undefined ? [] : [{ action: whole, subsystem, text: reset }]),
      ...surplus.map((rule) => removal(name, rule)),
      ...absent.map((rule) => addition(name, rule, appendRule(name, rule.rule))),
    ],
  };
}

/** `undefined` if rewriting the chain is cheaper. */
function planEdits(
  chain: WantedChain,
  difference: ChainDifference,
  maxDeletes: number,
): LinesPlan | undefined {
  const { name, order } = chain;
  // `-D` may not find an opaque rule by the text that iptables-save prints. A flush removes any rule.
  if (difference.surplus.some(({ spec }) => spec === undefined)) return undefined;
  if (order === "longest-prefix" && difference.misplaced.size > 0) return undefined;
  const broken = order === "within-object" ? brokenGroups(chain, difference) : noGroups;
  const deletes = [...difference.surplus, ...broken.kept];
  if (deletes.length > maxDeletes) return undefined;
  const inserts = order === "longest-prefix" ? insertions(difference) : new Map<WantedRule, number>();
  if (inserts.size > editsByTool.lines) return undefined;

  const appended =
    broken.rules.length > 0 ? withWholeGroups(difference.absent, broken.rules) : difference.absent;
  // Insert from the last position to the first, and at one position the last wanted rule first, so that no insertion
  // shifts another.
  const inserted = [...inserts].reverse().sort(([, a], [, b]) => b - a);
  const additions = [
    ...inserted.map(([rule, at]) => ({ rule, text: insertRule(name, at + 1, rule.rule) })),
    ...appended
      .filter((rule) => !inserts.has(rule))
      .map((rule) => ({ rule, text: appendRule(name, rule.rule) })),
  ];
  const absent = new Set(difference.absent);
  return {
    resets: [],
    lines: [...deletes.map((rule) => deleteRule(name, rule)), ...additions.map(({ text }) => text)],
    changes: [
      ...difference.surplus.map((rule) => removal(name, rule)),
      ...additions.map(({ rule, text }) => addition(name, rule, text, absent.has(rule) ? "add" : "replace")),
    ],
  };
}

interface BrokenGroups {
  /** All wanted rules of objects with some rules absent or misplaced and others present. */
  readonly rules: readonly WantedRule[];
  /** Those of the rules that are present, as read. */
  readonly kept: readonly Rule[];
}

const noGroups: BrokenGroups = { rules: [], kept: [] };

function brokenGroups(chain: WantedChain, { absent, kept, misplaced }: ChainDifference): BrokenGroups {
  const touched = new Set([...absent, ...misplaced].map(({ object }) => object));
  const keptOfTouched = kept.filter(({ wanted }) => touched.has(wanted.object));
  if (keptOfTouched.length === 0) return noGroups;
  const broken = new Set(keptOfTouched.map(({ wanted }) => wanted.object));
  return {
    rules: chain.rules.filter(({ object }) => broken.has(object)),
    kept: keptOfTouched.map(({ asRead }) => asRead),
  };
}

function withWholeGroups(absent: readonly WantedRule[], whole: readonly WantedRule[]): readonly WantedRule[] {
  const broken = new Set(whole);
  return [...absent.filter((rule) => !broken.has(rule)), ...whole];
}

/** The position of each absent rule that must precede a present one, counted after all deletions. */
function insertions({ absent, kept }: ChainDifference): Map<WantedRule, number> {
  const index = new NetworkIndex();
  for (const [position, { wanted }] of kept.entries())
    if (wanted.pool !== undefined) index.add(wanted.pool, position);
  const inserts = new Map<WantedRule, number>();
  for (const rule of absent) {
    const position = rule.pool && index.firstWider(rule.pool);
    if (position !== undefined) inserts.set(rule, position);
  }
  return inserts;
}

function removal(chain: string, rule: Rule): Change {
  return { action: "remove", subsystem: subsystemOf(chain), text: deleteRule(chain, rule) };
}

function addition(
  chain: string,
  { object }: WantedRule,
  text: string,
  action: "add" | "replace" = "add",
): Change {
  const change = { action, subsystem: subsystemOf(chain), text } as const;
  return object === undefined ? change : { ...change, object };
}
