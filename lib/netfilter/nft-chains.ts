/** Parses the chains of a table as `nft -s -a list table` prints them. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import type { ChainRule, Range } from "./chain.ts";
import { type AddressSets, parseNftRules, rangesOf } from "./nft-rule.ts";

/** The rules of each chain, in order. */
export function parseNftListing(text: string): ReadonlyMap<string, readonly ChainRule[]> {
  return runSync(parseNftListingChunked(text));
}

/** Takes a few milliseconds. */
const parsedAtOnce = 1_000;

/** The same in parts. */
export function* parseNftListingChunked(text: string): Chunked<ReadonlyMap<string, readonly ChainRule[]>> {
  const lines = text.replace(/,\n\t\t\s+/g, ", ").split("\n");
  yield;
  const sets = yield* addressSets(lines);
  const isDue = everyNth(parsedAtOnce);
  const chains = new Map<string, ChainRule[]>();
  let rules: ChainRule[] | undefined;
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
      rules.push(...parseNftRules(line.trim().replace(/ # handle \d+$/, ""), sets));
    }
  }
  return chains;
}

/** The sets of addresses, if the listing contains their elements. */
function* addressSets(lines: readonly string[]): Chunked<AddressSets> {
  const isDue = everyNth(parsedAtOnce);
  const sets = new Map<string, readonly Range[]>();
  let name: string | undefined;
  for (const line of lines) {
    if (isDue()) yield;
    const [, block] = /^\tset (\S+) \{/.exec(line) ?? [];
    if (block !== undefined) name = block;
    else if (line.startsWith("\t}")) name = undefined;
    else if (name !== undefined) {
      if (line.trim() === "type ipv4_addr") sets.set(name, []);
      const [, elements] = /^\t\telements = \{ (.*) \}$/.exec(line) ?? [];
      if (elements === undefined || !sets.has(name)) continue;
      const ranges = rangesOf(elements.split(", ").map((element) => element.split(" ")[0] ?? ""));
      if (ranges === undefined) sets.delete(name);
      else sets.set(name, ranges);
    }
  }
  return sets;
}
