/** Parsed chain rules as text, for tables of parser results. */
import type { ChainRule } from "../../lib/netfilter/chain.ts";

/**
 * `!in=eth0 destinationPort=80-80,443-443 all`: each test, and which share of the packets the other conditions match.
 */
export function testsInWords({ tests, beyond }: ChainRule): string {
  const words = tests.map(
    (test) =>
      `${test.isInverted ? "!" : ""}${test.field}=${"names" in test ? test.names : test.ranges.map((range) => range.join("-"))}`,
  );
  return [...words, beyond].join(" ");
}

/** `drops`, `goto OTHER`, `accept`. */
export function effectInWords({ effect }: ChainRule): string {
  if (effect.kind === "harm") return effect.isMaybe ? `maybe ${effect.verb}` : effect.verb;
  return "chain" in effect ? `${effect.kind} ${effect.chain}` : effect.kind;
}
