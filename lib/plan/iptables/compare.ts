/** Compares one owned chain with what was read of it. Says what differs, not how to repair it. */
import type { Rule } from "../../iptables/rule.ts";
import type { ObjectId } from "../../model/names.ts";
import type { WantedChain, WantedRule } from "./layout.ts";
import { NetworkIndex } from "./networks.ts";

export interface ChainDifference {
  /** Unwanted rules, and repeated rules except the last one. */
  readonly surplus: readonly Rule[];
  /** Wanted rules that are missing, in wanted order. */
  readonly absent: readonly WantedRule[];
  /** Wanted rules that are present, in the order read. */
  readonly kept: readonly KeptRule[];
  /**
   * Those of `kept` whose position lets an earlier rule take their packets, or lets them take packets of a later rule.
   */
  readonly misplaced: ReadonlySet<WantedRule>;
}

export interface KeptRule {
  readonly wanted: WantedRule;
  readonly asRead: Rule;
}

/** True if the chain has exactly its rules in wanted order: a cheap check for unchanged chains. */
export function isAsWanted(wanted: WantedChain, observed: readonly Rule[]): boolean {
  if (observed.length !== wanted.rules.length) return false;
  return wanted.rules.every(({ rule }, index) => rule.text === observed[index]?.text);
}

/** @param observed - the rules of the chain in order; `[]` if the chain does not exist */
export function compareChain(wanted: WantedChain, observed: readonly Rule[]): ChainDifference {
  if (observed.length === 0) return { surplus: [], absent: wanted.rules, kept: [], misplaced: new Set() };
  const byText = new Map(wanted.rules.map((rule) => [rule.rule.text, rule]));
  const surplus: Rule[] = [];
  const kept: KeptRule[] = [];
  // Search from the end: `-D` deletes the first of several equal rules, so the last one stays.
  for (const asRead of observed.toReversed()) {
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
  return { surplus, absent: [...byText.values()], kept, misplaced: findMisplaced(wanted, kept) };
}

function findMisplaced(wanted: WantedChain, rules: readonly KeptRule[]): ReadonlySet<WantedRule> {
  const kept = rules.map((rule) => rule.wanted);
  switch (wanted.order) {
    case "any":
      return new Set();
    case "exact":
      return outOfSequence(wanted.rules, kept);
    case "within-object":
      return outOfGroup(wanted.rules, kept);
    case "longest-prefix":
      return rulesAfterWider(kept);
  }
}

/** All of `kept` if it is not in the order of `wanted`. */
function outOfSequence(wanted: readonly WantedRule[], kept: readonly WantedRule[]): ReadonlySet<WantedRule> {
  const present = new Set(kept);
  const inOrder = wanted.filter((rule) => present.has(rule));
  return inOrder.every((rule, index) => rule === kept[index]) ? new Set() : present;
}

function outOfGroup(wanted: readonly WantedRule[], kept: readonly WantedRule[]): ReadonlySet<WantedRule> {
  const keptOf = Map.groupBy(kept, ({ object }) => object);
  const wantedOf = groupsOfMany(wanted);
  return new Set(
    [...wantedOf].flatMap(([object, rules]) => [...outOfSequence(rules, keptOf.get(object) ?? [])]),
  );
}

function groupsOfMany(rules: readonly WantedRule[]): ReadonlyMap<ObjectId | undefined, WantedRule[]> {
  const groups = Map.groupBy(rules, ({ object }) => object);
  for (const [object, group] of groups) if (group.length === 1) groups.delete(object);
  return groups;
}

function rulesAfterWider(kept: readonly WantedRule[]): ReadonlySet<WantedRule> {
  const earlier = new NetworkIndex();
  const misplaced = new Set<WantedRule>();
  for (const [position, rule] of kept.entries()) {
    if (rule.pool === undefined) continue;
    if (earlier.firstWider(rule.pool) !== undefined) misplaced.add(rule);
    earlier.add(rule.pool, position);
  }
  return misplaced;
}
