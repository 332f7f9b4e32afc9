/** Parses a line of a chain as nft prints it: one rule, or one for each element of a verdict map. */
import type { ChainRule } from "./chain.ts";
import { type NamedObjects, nothingNamed } from "./nft-named.ts";
import { parseNftRule } from "./nft-rule.ts";

/** Beyond this, a verdict map is unknown: each of its elements is a rule that packets are followed through. */
const maxElements = 1_000;

export function parseNftRules(text: string, named: NamedObjects = nothingNamed): readonly ChainRule[] {
  const [, before = "", anonymous, name = ""] = /^(.*) vmap (?:\{ (.*) \}|@(\S+))$/.exec(text) ?? [];
  const elements = anonymous?.split(", ") ?? named.verdicts.get(name);
  if (elements === undefined || elements.length > maxElements) return [parseNftRule(text, named)];
  const withValue = concatenation(before);
  return elements.map((element) => {
    const [value = "", verdict = ""] = element.split(" : ");
    return { ...parseNftRule(`${withValue(value)} ${verdict}`, named), text };
  });
}

/** `ip daddr . tcp dport` with `10.0.1.5 . 80`: `ip daddr 10.0.1.5 tcp dport 80`. */
function concatenation(before: string): (value: string) => string {
  const fields = before.split(" . ");
  return (value) => {
    const values = value.split(" . ");
    return fields.map((field, at) => `${field} ${values[at] ?? "?"}`).join(" ");
  };
}
