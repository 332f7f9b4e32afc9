/** The built-in chains that lead to the agent's, and what others have in the table of NAT. */
import type { Rule } from "../../iptables/rule.ts";
import type { Family } from "../../model/family.ts";
import type { Chain } from "../../netfilter/chain.ts";
import { builtInHook, parseIptablesRule, placeOf } from "../../netfilter/iptables-chains.ts";
import type { RulesBeside, SharedChain } from "../rules-planner.ts";
import type { IptablesObserved } from "./observed.ts";
import { isOwnChain } from "./owned.ts";

/** With legacy nobody but iptables can change the built-in chains, which it always makes the same. */
export function rulesBeside({ rules, barrier }: IptablesObserved, { nft }: Family): RulesBeside {
  const tool = barrier === undefined ? "iptables-legacy" : "iptables-nft";
  const chains = [...(rules.get("nat") ?? [])].filter(([name]) => !isOwnChain(name));
  return {
    shared:
      barrier === undefined
        ? []
        : sharedChains.map((one) => ({ ...one, table: `${nft.family} ${one.table}` })),
    chains: chains.map(([name, its]) => chainOf(tool, name, its)),
  };
}

function chainOf(tool: string, name: string, rules: readonly Rule[]): Chain {
  return {
    place: placeOf(tool, "nat"),
    name,
    hook: builtInHook("nat", name, "accept"),
    rules: rules.map(({ raw }) => parseIptablesRule(raw)),
  };
}

const sharedChains = (
  [
    ["nat", "PREROUTING", "DNAT_FILTER", ["fip", "dnat"]],
    ["nat", "POSTROUTING", "SNAT_FILTER", ["fip", "snat"]],
    // A mark tells what comes back into the VPC: without it all else works.
    ["mangle", "PREROUTING", "VPC_MARK", []],
  ] as const
).flatMap(([table, name, target, serves]): readonly SharedChain[] => {
  const hook = builtInHook(table, name, "accept");
  return hook === undefined ? [] : [{ table, name, hook, target, serves }];
});
