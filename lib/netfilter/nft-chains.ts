/** Parses the chains of a table as `nft -s -a list table` prints them. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import type { ChainRule, Range } from "./chain.ts";
import { rangesOf } from "./iptables-chains.ts";
import { type NamedElements, parseNftRules } from "./nft-rule.ts";

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
  const named = yield* namedElements(lines);
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
