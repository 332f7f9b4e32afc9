/** Compares one owned chain with what was read of it. Says what differs, not how to repair it. */
import { type Chunked, everyNth, forEachChunked } from "../../chunked.ts";
import type { Rule } from "../../iptables/rule.ts";
import type { ObjectId } from "../../model/names.ts";
import type { WantedChain, WantedRule } from "./layout.ts";
import { PrefixOrder } from "./prefix-order.ts";

export interface ChainDifference {
  /** Unwanted rules, and repeated rules except the last one. */
  readonly surplus: readonly Rule[];
  /** Wanted rules that are missing, in wanted order. */
  readonly absent: readonly WantedRule[];
  /** Wanted rules that are present, in the order read. */
  readonly kept: readonly KeptRule[];
  /** Those of `kept` that are not where the order of the chain has them. */
  readonly misplaced: ReadonlySet<WantedRule>;
}

export interface KeptRule {
  readonly wanted: WantedRule;
  readonly asRead: Rule;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

/** True if the chain has exactly its rules in wanted order: a cheap check for unchanged chains. */
export function* isAsWanted({ rules }: WantedChain, observed: readonly Rule[]): Chunked<boolean> {
  if (observed.length !== rules.length) return false;
  const isDue = everyNth(lookedAtOnce);
  for (const [index, { rule }] of rules.entries()) {
    if (isDue()) yield;
    if (rule.text !== observed[index]?.text) return false;
  }
  return true;
}

/** @param observed - the rules of the chain in order; `[]` if the chain does not exist */
export function* compareChain(wanted: WantedChain, observed: readonly Rule[]): Chunked<ChainDifference> {
  if (observed.length === 0) return { surplus: [], absent: wanted.rules, kept: [], misplaced: new Set() };
  const byText = new Map<string, WantedRule>();
  yield* forEachChunked(wanted.rules, lookedAtOnce, (rule) => byText.set(rule.rule.text, rule));
  const surplus: Rule[] = [];
  const kept: KeptRule[] = [];
  // Search from the end: `-D` deletes the first of several equal rules, so the last one stays.
  const isDue = everyNth(lookedAtOnce);
  for (let at = observed.length - 1; at >= 0; at--) {
    if (isDue()) yield;
    const asRead = observed[at] as Rule;
    const match = byText.get(asRead.text);
    if (match === undefined) {
      surplus.push(asRead);
    } else {
      byText.delete(asRead.text);
      kept.push({ wanted: match, asRead });
    }
  }
  surplus.reverse();
  kept.reverse();
  return { surplus, absent: [...byText.values()], kept, misplaced: yield* findMisplaced(wanted, kept) };
}

function* findMisplaced(wanted: WantedChain, rules: readonly KeptRule[]): Chunked<ReadonlySet<WantedRule>> {
  const kept = rules.map((rule) => rule.wanted);
  switch (wanted.order) {
    case "any":
      return new Set();
    case "exact":
      return outOfSequence(wanted.rules, kept);
    case "within-object":
      return yield* outOfGroup(wanted.rules, kept);
    case "longest-prefix":
      return yield* rulesAfterShorter(kept);
  }
}

/** All of `kept` if it is not in the order of `wanted`. */
function outOfSequence(wanted: readonly WantedRule[], kept: readonly WantedRule[]): ReadonlySet<WantedRule> {
  const present = new Set(kept);
  const inOrder = wanted.filter((rule) => present.has(rule));
  return inOrder.every((rule, index) => rule === kept[index]) ? new Set() : present;
}

function* outOfGroup(
  wanted: readonly WantedRule[],
  kept: readonly WantedRule[],
): Chunked<ReadonlySet<WantedRule>> {
  const keptOf = yield* byObject(kept);
  const misplaced = new Set<WantedRule>();
  yield* forEachChunked(yield* byObject(wanted), lookedAtOnce, ([object, rules]) => {
    if (rules.length === 1) return;
    for (const rule of outOfSequence(rules, keptOf.get(object) ?? [])) misplaced.add(rule);
  });
  return misplaced;
}

function* byObject(
  rules: readonly WantedRule[],
): Chunked<ReadonlyMap<ObjectId | undefined, readonly WantedRule[]>> {
  const groups = new Map<ObjectId | undefined, WantedRule[]>();
  yield* forEachChunked(rules, lookedAtOnce, (rule) => {
    const group = groups.get(rule.object);
    if (group === undefined) groups.set(rule.object, [rule]);
    else group.push(rule);
  });
  return groups;
}

function* rulesAfterShorter(kept: readonly WantedRule[]): Chunked<ReadonlySet<WantedRule>> {
  const earlier = new PrefixOrder();
  const misplaced = new Set<WantedRule>();
  const isDue = everyNth(lookedAtOnce);
  for (const [position, rule] of kept.entries()) {
    if (isDue()) yield;
    if (rule.pool === undefined) continue;
    if (earlier.firstShorter(rule.pool.cidr) !== undefined) misplaced.add(rule);
    earlier.add(rule.pool.cidr, position);
  }
  return misplaced;
}
