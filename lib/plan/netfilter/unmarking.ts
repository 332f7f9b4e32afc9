/** Rules of other programs that take away the mark of packets from the VPC, without which there is no hairpin. */
import type { Program } from "../../model/program.ts";
import type { Chain, Hook } from "../../netfilter/chain.ts";
import { walk } from "../../netfilter/walk.ts";
import { isOwnChain } from "../iptables/owned.ts";
import { srcnat } from "./journeys.ts";

/** Of the chain that marks them. */
const vpcMark = -150;

/** The rules, as text. Those for a part of the packets do not count. */
export function unmarkingRules(
  { vpcInterface, fips, dnats }: Program,
  chains: readonly Chain[],
): readonly string[] {
  if (fips.length + dnats.length === 0) return [];
  if (!chains.some(({ rules }) => rules.some(({ unmarks }) => unmarks))) return [];
  const byName = new Map(chains.map((chain) => [`${chain.place} ${chain.name}`, chain]));
  const found = chains.flatMap((chain) => {
    const { hook, rules, place } = chain;
    const isOwn = (name: string) => isOwnChain(place, name);
    const from = rules.findIndex(({ effect }) => effect.kind === "jump" && isOwn(effect.chain)) + 1;
    if (hook === undefined || !isBetween(hook, from > 0)) return [];
    const isRouted = hook.name !== "prerouting";
    const packets = {
      in: vpcInterface,
      out: isRouted ? vpcInterface : undefined,
      source: undefined,
      destination: undefined,
      protocol: undefined,
      sourcePort: undefined,
      destinationPort: undefined,
      state: "new",
    };
    return walk({ ...chain, rules: rules.slice(from) }, packets, {
      chainNamed: (name) => byName.get(`${place} ${name}`),
      isOwn,
      leadsToOwn: false,
      asksUnmarking: true,
      entering: "all",
    });
  });
  return [...new Set(found.map(({ where }) => where))];
}

/** @param isBehindOurs true if the rules after the agent's own count */
function isBetween({ name, priority }: Hook, isBehindOurs: boolean): boolean {
  switch (name) {
    case "prerouting":
      return priority > vpcMark || (priority === vpcMark && isBehindOurs);
    case "forward":
      return true;
    case "postrouting":
      return priority < srcnat;
    default:
      return false;
  }
}
