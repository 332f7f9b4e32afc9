/** Parses the chains of a table as `nft -s -a list table` prints them. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import type { ChainRule, Range } from "./chain.ts";
import { type NamedElements, parseNftRules, rangesOf } from "./nft-rule.ts";

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
  const named = yield* namedElements(lines);
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
      rules.push(...parseNftRules(line.trim().replace(/ # handle \d+$/, ""), named));
    }
  }
  return chains;
}

/** The elements of sets of addresses and of verdict maps, if the listing contains them. */
function* namedElements(lines: readonly string[]): Chunked<NamedElements> {
  const isDue = everyNth(parsedAtOnce);
  const sets = new Map<string, readonly Range[]>();
  const verdicts = new Map<string, readonly string[]>();
  let name: string | undefined;
  for (const line of lines) {
    if (isDue()) yield;
    const [, block] = /^\t(?:set|map) (\S+) \{/.exec(line) ?? [];
    if (block !== undefined) name = block;
    else if (line.startsWith("\t}")) name = undefined;
    else if (name !== undefined) {
      if (line.trim() === "type ipv4_addr") sets.set(name, []);
      else if (/^\t\ttype .* : verdict$/.test(line)) verdicts.set(name, []);
      const [, elements] = /^\t\telements = \{ (.*) \}$/.exec(line) ?? [];
      if (elements === undefined) continue;
      if (verdicts.has(name)) verdicts.set(name, elements.split(", "));
      if (!sets.has(name)) continue;
      const ranges = rangesOf(elements.split(", ").map((element) => element.split(" ")[0] ?? ""));
      if (ranges === undefined) sets.delete(name);
      else sets.set(name, ranges);
    }
  }
  return { sets, verdicts };
}
