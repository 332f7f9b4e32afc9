/** The built-in chains that jump to the agent's, and foreign rules in the NAT table. */
import { type Chunked, mapChunked } from "../../chunked.ts";
import type { Rule } from "../../iptables/rule.ts";
import type { Family } from "../../model/family.ts";
import type { Chain } from "../../netfilter/chain.ts";
import { builtInHook, parseIptablesRule, placeOf } from "../../netfilter/iptables-chains.ts";
import type { NetfilterContext, SharedChain } from "../rules-planner.ts";
import type { IptablesObserved } from "./observed.ts";
import { isOwnChain } from "./owned.ts";

/** With legacy only iptables can change the built-in chains, and it always creates them the same way. */
export function* netfilterContextOf(
  { variant, rules, backends }: IptablesObserved,
  { nft }: Family,
): Chunked<NetfilterContext> {
  const place = placeOf(`iptables-${variant}`, "nat");
  const chains: Chain[] = [];
  for (const [name, its] of rules.get("nat") ?? [])
    if (!isOwnChain(place, name)) chains.push(yield* chainOf(place, name, its));
  return {
    shared:
      variant === "legacy"
        ? []
        : sharedChains.map((one) => ({ ...one, table: `${nft.family} ${one.table}` })),
    chains,
    hasBackendsTable: backends !== undefined,
  };
}

/** Takes a few milliseconds. */
const parsedAtOnce = 1_000;

function* chainOf(place: string, name: string, rules: readonly Rule[]): Chunked<Chain> {
  return {
    place,
    name,
    hook: builtInHook("nat", name, "accept"),
    rules: yield* mapChunked(rules, parsedAtOnce, ({ raw }) => parseIptablesRule(raw)),
  };
}

const sharedChains = (
  [
    ["nat", "PREROUTING", "DNAT_FILTER", ["fip", "dnat"]],
    ["nat", "POSTROUTING", "SNAT_FILTER", ["fip", "snat"]],
    // The mark identifies hairpin traffic. Everything else works without it.
    ["mangle", "PREROUTING", "VPC_MARK", []],
  ] as const
).flatMap(([table, name, target, serves]): readonly SharedChain[] => {
  const hook = builtInHook(table, name, "accept");
  return hook === undefined ? [] : [{ table, name, hook, target, serves }];
});
