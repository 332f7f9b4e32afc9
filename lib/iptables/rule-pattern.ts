/**
 * Rules that differ in addresses only have one shape. The kernel's form of such a rule can be made from that of another one of its
 * shape (lib/nftables/rule-template.ts), without knowing how the tools encode it.
 */
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import { hostOf } from "./masked.ts";
import type { Rule } from "./rule.ts";

export interface RulePattern {
  /** The text with a number for each address: `-d {0}/32 -j DNAT --to-destination {1}`. */
  readonly shape: string;
  /** Each address once, in the order of the numbers. */
  readonly addresses: readonly Ip[];
}

/**
 * The pattern of a rule that is about whole hosts and their translation, and nothing else that is a number. `undefined` for any
 * other rule, and if the tools print it differently from its canonical text.
 */
export function patternOf({ text, raw, spec }: Rule, family: Family): RulePattern | undefined {
  if (spec === undefined || raw !== text) return undefined;
  const { source, destination, ctOriginalDestination, target } = spec;
  const isOfHosts = target.kind === "snat" || (target.kind === "dnat" && target.port === undefined);
  if (!isOfHosts || spec.protocol !== undefined || spec.probability !== undefined) return undefined;
  const addresses = new Set<Ip>();
  for (const masked of [source, destination, ctOriginalDestination]) {
    if (masked === undefined) continue;
    const host = hostOf(masked, family);
    if (host === undefined) return undefined;
    addresses.add(host);
  }
  addresses.add(target.to);
  let shape = text;
  for (const [number, address] of [...addresses].entries())
    shape = shape.replaceAll(new RegExp(family.mentionOf(address).source, "g"), `{${number}}`);
  return { shape, addresses: [...addresses] };
}
