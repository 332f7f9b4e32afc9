/**
 * The chains of the filter table with a rule for each object that the guard knows: lib/plan/iptables/filter.ts shows who jumps to
 * them.
 */
import { type Chunked, filterChunked, forEachChunked, mapChunked } from "../../chunked.ts";
import { hostMask, type MaskedAddress, parseMasked } from "../../iptables/masked.ts";
import { jumpTarget, makeRule, type Rule } from "../../iptables/rule.ts";
import type { TableRules } from "../../iptables/save.ts";
import { familyOf } from "../../model/families.ts";
import type { Ip } from "../../model/ip.ts";
import type { Protocol } from "../../model/schema.ts";
import type { GuardElements, GuardSet } from "../../nftables/sets.ts";
import type { FindRule } from "./part.ts";

/** A chain with a rule for each element of one of the guard's sets. */
export interface ObjectChain {
  readonly chain: string;
  readonly set: GuardSet;
  /** What of a packet the element is. */
  readonly side: "source" | "destination";
  /** Where its rules jump to. */
  readonly end: (typeof dropChains)[number];
}

/** Each has one rule, which drops. */
export const dropChains = ["NATGW_DROP_OUT", "NATGW_DROP_IN", "NATGW_DROP_AWAY"] as const;

export const guardedEips: ObjectChain = {
  chain: "NATGW_EIPS",
  set: "eips",
  side: "destination",
  end: "NATGW_DROP_IN",
};
export const guardedSources = (
  [
    ["NATGW_FIPS", "fips"],
    ["NATGW_BACKENDS", "backends"],
    ["NATGW_CLIENTS", "clients"],
  ] as const
).map(([chain, set]): ObjectChain => ({ chain, set, side: "source", end: "NATGW_DROP_OUT" }));
export const guardedTargets = (
  [
    ["NATGW_TO_FIPS", "fips"],
    ["NATGW_TO_BACKENDS", "backends"],
  ] as const
).map(([chain, set]): ObjectChain => ({ chain, set, side: "destination", end: "NATGW_DROP_AWAY" }));
export const objectChains = [...guardedSources, guardedEips, ...guardedTargets];

/** Both take a few milliseconds. */
const madeAtOnce = 2_000;
export const lookedAtOnce = 4_000;

export function guardRules(one: ObjectChain, guarded: GuardElements): Chunked<readonly Rule[]> {
  return mapChunked(guarded[one.set].keys(), madeAtOnce, (key) => guardRule(one, key));
}

/** Rules that the guard made for addresses that it no longer guards. All other unwanted rules are drift. */
export function* surplusRules(
  { chain, end }: ObjectChain,
  wanted: readonly Rule[],
  held: TableRules,
): Chunked<readonly Rule[]> {
  const rules = held.get(chain) ?? [];
  if (rules.length === 0) return rules;
  const texts = new Set<string>();
  yield* forEachChunked(wanted, lookedAtOnce, ({ text }) => texts.add(text));
  const isOurs = ({ spec }: Rule) => spec?.target.kind === "jump" && spec.target.chain === end;
  return yield* filterChunked(rules, lookedAtOnce, (rule) => isOurs(rule) && !texts.has(rule.text));
}

/** A rule for element `key` of the guard's set, as read. */
export function findGuard(set: GuardSet, key: string, find: FindRule): Rule | undefined {
  const one = objectChains.find((chain) => chain.set === set);
  return one && find(one.chain, guardRule(one, key).text);
}

/** The rule for element `key` of the chain's set. */
export function guardRule({ set, side, end }: ObjectChain, key: string): Rule {
  const [text = "", second = "", third] = key.split(" . ");
  const address = text as Ip;
  const family = familyOf(address);
  const isSource = side === "source";
  const from = (masked: MaskedAddress | undefined) =>
    isSource ? { source: masked } : { destination: masked };
  const target = jumpTarget(end);
  switch (set) {
    case "fips":
    case "eips":
      return makeRule({ ...from(hostMask(address, family)), target });
    case "backends": {
      const port = isSource ? { sourcePort: Number(third) } : { destinationPort: Number(third) };
      return makeRule({
        ...from(hostMask(address, family)),
        protocol: second as Protocol,
        ...port,
        target,
      });
    }
    case "clients":
      return makeRule({ ...from(parseMasked(`${address}/${second}`, family)), target });
  }
}
