/**
 * Plans one owned chain: single lines if few rules differ, else the whole chain is rewritten in the same transaction.
 */
import { type Chunked, everyNth, filterChunked, forEachChunked, mapChunked } from "../../chunked.ts";
import { appendRule, deleteRule, insertRule, resetChain } from "../../iptables/restore.ts";
import type { Rule } from "../../iptables/rule.ts";
import type { Change, ChangeLabel } from "../../model/change.ts";
import { type ChainDifference, compareChain, isAsWanted } from "./compare.ts";
import type { WantedChain, WantedRule } from "./layout.ts";
import { ownedChains } from "./owned.ts";
import { PrefixOrder } from "./prefix-order.ts";

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
export function* planChain(
  wanted: WantedChain,
  observed: readonly Rule[] | undefined,
  maxDeletes: number,
): Chunked<LinesPlan> {
  if (observed !== undefined && (yield* isAsWanted(wanted, observed))) return nothing;
  const difference = yield* compareChain(wanted, observed ?? []);
  if (observed === undefined) return yield* rewrite(wanted, difference, "add");
  const { surplus, absent, misplaced } = difference;
  if (surplus.length + absent.length + misplaced.size === 0) return nothing;
  const edits = wanted.order === "exact" ? undefined : yield* planEdits(wanted, difference, maxDeletes);
  return edits ?? (yield* rewrite(wanted, difference, misplaced.size > 0 ? "replace" : undefined));
}

/** The subsystem that a chain belongs to. */
export function subsystemOf(chain: string): ChangeLabel {
  if (["NATGW_GATE", "NATGW_BFD_IN", "NATGW_BFD_OUT", "NATGW_SET"].includes(chain)) return "gate";
  return ownedChains.filter.includes(chain) ? "guard" : "rule";
}

function* rewrite(
  { name, rules }: WantedChain,
  { surplus, absent }: ChainDifference,
  whole: Change["action"] | undefined,
): Chunked<LinesPlan> {
  const subsystem = subsystemOf(name);
  const reset = resetChain(name);
  const add = (rule: WantedRule) => addition(name, rule, appendRule(name, rule.rule));
  return {
    resets: [reset],
    lines: yield* mapChunked(rules, plannedAtOnce, ({ rule }) => appendRule(name, rule)),
    changes: [
      ...(whole === undefined ? [] : [{ action: whole, subsystem, text: reset }]),
      ...(yield* mapChunked(surplus, plannedAtOnce, (rule) => removal(name, rule))),
      ...(yield* mapChunked(absent, plannedAtOnce, add)),
    ],
  };
}

/** Takes a few milliseconds. */
const plannedAtOnce = 4_000;

/** `undefined` if rewriting the chain is cheaper. */
function* planEdits(
  chain: WantedChain,
  difference: ChainDifference,
  maxDeletes: number,
): Chunked<LinesPlan | undefined> {
  const { name, order } = chain;
  // `-D` may not find an opaque rule by the text that iptables-save prints. A flush removes any rule.
  if (difference.surplus.some(({ spec }) => spec === undefined)) return undefined;
  if (order === "longest-prefix" && difference.misplaced.size > 0) return undefined;
  const broken = order === "within-object" ? yield* brokenGroups(chain, difference) : noGroups;
  const deletes = [...difference.surplus, ...broken.kept];
  if (deletes.length > maxDeletes) return undefined;
  const inserts = order === "longest-prefix" ? yield* insertions(difference) : new Map<WantedRule, number>();
  if (inserts.size > editsByTool.lines) return undefined;

  const whole = new Set(broken.rules);
  const single = yield* filterChunked(
    difference.absent,
    plannedAtOnce,
    (rule) => !whole.has(rule) && !inserts.has(rule),
  );
  // Insert from the last position to the first, and at one position the last wanted rule first, so that no insertion
  // shifts another.
  const inserted = [...inserts].reverse().sort(([, a], [, b]) => b - a);
  const absent = new Set(difference.absent);
  const lines = deletes.map((rule) => deleteRule(name, rule));
  const changes = difference.surplus.map((rule) => removal(name, rule));
  const add = (rule: WantedRule, text: string) => {
    lines.push(text);
    changes.push(addition(name, rule, text, absent.has(rule) ? "add" : "replace"));
  };
  for (const [rule, at] of inserted) add(rule, insertRule(name, at + 1, rule.rule));
  for (const rules of [single, broken.rules])
    yield* forEachChunked(rules, plannedAtOnce, (rule) => add(rule, appendRule(name, rule.rule)));
  return { resets: [], lines, changes };
}

interface BrokenGroups {
  /** All wanted rules of objects with some rules absent or misplaced and others present. */
  readonly rules: readonly WantedRule[];
  /** Those of the rules that are present, as read. */
  readonly kept: readonly Rule[];
}

const noGroups: BrokenGroups = { rules: [], kept: [] };

function* brokenGroups(
  { rules }: WantedChain,
  { absent, kept, misplaced }: ChainDifference,
): Chunked<BrokenGroups> {
  const touched = new Set<WantedRule["object"]>();
  for (const wrong of [absent, misplaced])
    yield* forEachChunked(wrong, plannedAtOnce, ({ object }) => touched.add(object));
  const keptOfTouched = yield* filterChunked(kept, plannedAtOnce, ({ wanted }) => touched.has(wanted.object));
  if (keptOfTouched.length === 0) return noGroups;
  const broken = new Set(keptOfTouched.map(({ wanted }) => wanted.object));
  return {
    rules: yield* filterChunked(rules, plannedAtOnce, ({ object }) => broken.has(object)),
    kept: keptOfTouched.map(({ asRead }) => asRead),
  };
}

/** The position of each absent rule that must precede a present one, counted after all deletions. */
function* insertions({ absent, kept }: ChainDifference): Chunked<Map<WantedRule, number>> {
  const order = new PrefixOrder();
  const isDue = everyNth(plannedAtOnce);
  for (const [position, { wanted }] of kept.entries()) {
    if (isDue()) yield;
    if (wanted.pool !== undefined) order.add(wanted.pool.cidr, position);
  }
  const inserts = new Map<WantedRule, number>();
  for (const rule of absent) {
    if (isDue()) yield;
    const position = rule.pool && order.firstShorter(rule.pool.cidr);
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
