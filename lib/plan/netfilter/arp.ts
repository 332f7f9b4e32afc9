/** Chains and rules that drop ARP, so that the gateway and its neighbours do not find each other. */
import type { Chain, ChainRule } from "../../netfilter/chain.ts";

/** What drops ARP on the gateway's interfaces, as text. A drop under further conditions may drop what is needed. */
export function arpDrops(chains: readonly Chain[], interfaces: readonly string[]): readonly string[] {
  return chains.flatMap((chain) => {
    if (chain.hook === undefined) return [];
    const { place, name, hook } = chain;
    if (/^(?:nft|tc) arp /.test(place)) {
      if (hook.name !== "input" && hook.name !== "output") return [];
      return dropsIn(chain, chain.rules, interfaces);
    }
    const isOnDevice = hook.devices.some((device) => interfaces.includes(device));
    if (!isOnDevice || !place.startsWith("nft ")) return [];
    // A policy or a rule that drops everything also stops IPv4; the objects already report that.
    const isAnyAccepted = chain.rules.some(({ effect }) => effect.kind === "accept");
    const policy = isAnyAccepted ? hook.policy : "accept";
    return dropsIn({ place, name, hook: { ...hook, policy } }, chain.rules.filter(isOfArp), interfaces);
  });
}

function dropsIn(
  { place, name, hook }: Pick<Chain, "place" | "name" | "hook">,
  rules: readonly ChainRule[],
  interfaces: readonly string[],
): readonly string[] {
  const drops: string[] = [];
  let isAnyAccepted = false;
  for (const rule of rules.filter((one) => isSeen(one, interfaces))) {
    const { effect } = rule;
    const isWhole = isUnconditional(rule);
    if (effect.kind === "harm" || effect.kind === "unclear") {
      const isSure = isWhole && effect.kind === "harm" && !isAnyAccepted;
      if (isSure) return [`${place} ${name} drops ARP`];
      drops.push(`${place} ${name}: ${rule.text} may drop ARP`);
    } else if (effect.kind !== "continue") isAnyAccepted = true;
    if (isWhole && effect.kind !== "continue" && effect.kind !== "jump") return drops;
  }
  if (hook?.policy !== "drop") return drops;
  return [...drops, `${place} ${name} ${isAnyAccepted ? "may drop" : "drops"} ARP`];
}

/** True for a rule that names ARP or is for all but other protocols, or that accepts everything. */
function isOfArp({ text, tests, beyond, effect }: ChainRule): boolean {
  const [, not, named = ""] = /\b(?:ether type|meta protocol) (!= )?(\{[^}]*\}|\S+)/.exec(text) ?? [];
  if (named !== "") return /\b(?:arp|0x0806)\b/.test(named) !== (not !== undefined);
  return /\barp \w+ /.test(text) || (effect.kind === "accept" && tests.length === 0 && beyond === "all");
}

/** False if it only sees other interfaces. */
function isSeen({ tests }: ChainRule, interfaces: readonly string[]): boolean {
  return tests.every((test) => {
    if (!("names" in test) || (test.field !== "in" && test.field !== "out")) return true;
    const isNamed = test.names.some(
      (name) => name.endsWith("*") || interfaces.some((known) => known === name),
    );
    return test.isInverted || isNamed;
  });
}

/** True for all ARP of IPv4 on Ethernet that the rule sees. */
function isUnconditional({ text, tests, beyond }: ChainRule): boolean {
  if (tests.length === 0 && beyond === "all") return true;
  const rest = text
    .replaceAll(/\barp (?:htype (?:1|ether)|hlen 6|plen 4|ptype (?:ip|0x0800)) /g, "")
    .replaceAll(/\b(?:ether type|meta protocol) (?:!= )?(?:\{[^}]*\}|\S+) /g, "")
    .replaceAll(/\b[io]if(?:name)? "?[\w.-]+"? /g, "")
    .replaceAll(/\bcounter (?:packets \d+ bytes \d+ )?/g, "");
  return /^(?:drop|reject|accept|return)\b/.test(rest);
}
