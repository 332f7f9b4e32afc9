/** What rules of a table refer to by name, as `nft -s -a list table` prints it. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { Range } from "./chain.ts";
import { rangesOf } from "./iptables-chains.ts";

export interface NamedObjects {
  /** The elements of sets of addresses. */
  readonly sets: ReadonlyMap<string, readonly Range[]>;
  /** The elements of verdict maps: `10.0.1.5 : drop`. */
  readonly verdicts: ReadonlyMap<string, readonly string[]>;
  /** The rates of limits: `rate over 1/minute`. */
  readonly limits: ReadonlyMap<string, string>;
  /** Policies of conntrack timeouts that end flows before their next packet. */
  readonly endingTimeouts: ReadonlySet<string>;
}

export const nothingNamed: NamedObjects = {
  sets: new Map(),
  verdicts: new Map(),
  limits: new Map(),
  endingTimeouts: new Set(),
};

/** Takes a few milliseconds. */
const parsedAtOnce = 1_000;

/** @param lines elements of a set in one line */
export function* namedObjectsChunked(lines: readonly string[]): Chunked<NamedObjects> {
  const isDue = everyNth(parsedAtOnce);
  const sets = new Map<string, readonly Range[]>();
  const verdicts = new Map<string, readonly string[]>();
  const limits = new Map<string, string>();
  const endingTimeouts = new Set<string>();
  let name: string | undefined;
  for (const line of lines) {
    if (isDue()) yield;
    const [, block] = /^\t(?:set|map|limit|ct timeout) (\S+) \{/.exec(line) ?? [];
    if (block !== undefined) name = block;
    else if (line.startsWith("\t}")) name = undefined;
    else if (name !== undefined) {
      if (line.trim() === "type ipv4_addr") sets.set(name, []);
      else if (/^\t\ttype .* : verdict$/.test(line)) verdicts.set(name, []);
      else if (line.startsWith("\t\trate ")) limits.set(name, line.trim());
      else if (/^\t\tpolicy = \{.* : 0s?[ ,]/.test(line)) endingTimeouts.add(name);
      const [, elements] = /^\t\telements = \{ (.*) \}$/.exec(line) ?? [];
      if (elements === undefined) continue;
      if (verdicts.has(name)) verdicts.set(name, elements.split(", "));
      if (!sets.has(name)) continue;
      const ranges = rangesOf(elements.split(", ").map((element) => element.split(" ")[0] ?? ""));
      if (ranges === undefined) sets.delete(name);
      else sets.set(name, ranges);
    }
  }
  return { sets, verdicts, limits, endingTimeouts };
}
