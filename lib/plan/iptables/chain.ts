/** Plans one owned chain: single lines where few rules differ, else the whole chain anew in the same transaction. */
import { appendRule, deleteRule, insertRule, resetChain } from "../../iptables/restore.ts";
import type { Rule } from "../../iptables/rule.ts";
import type { Change, ChangeLabel } from "../../model/change.ts";
import { type ChainDifference, compareChain, isAsWanted } from "./compare.ts";
import type { WantedChain, WantedRule } from "./layout.ts";
import { NetworkIndex } from "./networks.ts";

/** How many single lines of one chain cost about as much as writing it anew. */
export interface EditLimits {
  /** Of a table that gets rules, too. */
  readonly lines: number;
  /** Of a table from which rules only go. */
  readonly deletes: number;
}

/** iptables-nft searches the chain for each rule that it deletes by its text (100 of 10,000: 1.9 s; the chain anew: 0.2 s). */
export const editsByTool: EditLimits = { lines: 35, deletes: 35 };
/** The kernel searches the chain for each handle, too (500 of 10,000: 35 ms, 2,000: 160 ms). */
export const editsByHandle: EditLimits = { ...editsByTool, deletes: 1_000 };

/** A part of one transaction's lines. `resets` precede the lines of every chain, since a jump needs its chain. */
export interface LinesPlan {
  readonly resets: readonly string[];
  readonly lines: readonly string[];
  readonly changes: readonly Change[];
}

/** A part that has nothing to do. */
export const nothing: LinesPlan = { resets: [], lines: [], changes: [] };

/**
 * @param observed - `undefined` where there is no such chain.
 * @param maxDeletes - single lines that delete; of those that insert there are never more than {@link editsByTool} allows
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
  if (chain === "NATGW_GATE") return "gate";
  return chain === "NATGW_GUARD" ? "guard" : "rule";
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

/** `undefined` where the chain is better written anew. */
function planEdits(
  chain: WantedChain,
  difference: ChainDifference,
  maxDeletes: number,
): LinesPlan | undefined {
  const { name, order } = chain;
  // A rule that iptables-save spells out need not be one that `-D` finds again; a flush takes any.
  if (difference.surplus.some(({ spec }) => spec === undefined)) return undefined;
  if (order === "longest-prefix" && difference.misplaced.size > 0) return undefined;
  const broken = order === "within-object" ? brokenGroups(chain, difference) : noGroups;
  const deletes = [...difference.surplus, ...broken.kept];
  if (deletes.length > maxDeletes) return undefined;
  const inserts = order === "longest-prefix" ? insertions(difference) : new Map<WantedRule, number>();
  if (inserts.size > editsByTool.lines) return undefined;

  const appended = broken.rules.length > 0 ? withWhole(difference.absent, broken.rules) : difference.absent;
  // From the last position to the first, and the last wanted one first: no insertion moves the position of another.
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
  /** All wanted rules of the objects of which some rule is absent or misplaced and some other is there. */
  readonly rules: readonly WantedRule[];
  /** Those of them that are there, as read. */
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

function withWhole(absent: readonly WantedRule[], whole: readonly WantedRule[]): readonly WantedRule[] {
  const broken = new Set(whole);
  return [...absent.filter((rule) => !broken.has(rule)), ...whole];
}

/** Where, counted after all deletions, each absent rule goes that must precede one that is there. */
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
