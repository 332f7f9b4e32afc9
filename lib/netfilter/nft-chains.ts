/** Parses the chains of a table as `nft -s -a list table` prints them. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import type { ChainRule } from "./chain.ts";
import { namedObjectsChunked } from "./nft-named.ts";
import { parseNftRules } from "./nft-rules.ts";

/** The rules of each chain, in order. A chain that a rule has in braces is named `{1}`. */
export function parseNftListing(text: string): ReadonlyMap<string, readonly ChainRule[]> {
  return runSync(parseNftListingChunked(text));
}

/** Takes a few milliseconds. */
const parsedAtOnce = 1_000;

/** The same in parts. */
export function* parseNftListingChunked(text: string): Chunked<ReadonlyMap<string, readonly ChainRule[]>> {
  const lines = text.replace(/,\n\t\t\s+/g, ", ").split("\n");
  yield;
  const named = yield* namedObjectsChunked(lines);
  const isDue = everyNth(parsedAtOnce);
  const chains = new Map<string, ChainRule[]>();
  let rules: ChainRule[] | undefined;
  const outer: ChainRule[][] = [];
  let inBraces = 0;
  for (const line of lines) {
    if (isDue()) yield;
    const [, block, name = ""] = /^\t(\w+) (\S+) \{/.exec(line) ?? [];
    if (block !== undefined) {
      rules = block === "chain" ? [] : undefined;
      if (rules !== undefined) chains.set(name, rules);
    } else if (
      line.startsWith("\t\t") &&
      rules !== undefined &&
      !/^\t\t(?:type .* hook |comment )/.test(line)
    ) {
      const text = line.trim().replace(/ # handle \d+$/, "");
      if (text === "}") {
        rules = outer.pop();
      } else if (/\b(?:jump|goto) \{$/.test(text)) {
        const name = `{${++inBraces}}`;
        rules.push(...parseNftRules(`${text.slice(0, -1)}${name}`, named));
        outer.push(rules);
        rules = [];
        chains.set(name, rules);
      } else rules.push(...parseNftRules(text, named));
    }
  }
  return chains;
}
