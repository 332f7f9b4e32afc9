/** Conditions that match by something else than addresses, ports and states, and how many packets they match. */
import type { Beyond } from "./chain.ts";

/** What a packet of any application may have. */
const usual: Readonly<Record<string, number>> = { ttl: 62, length: 60 };

/**
 * How many packets `ttl < 3` matches.
 *
 * @param comparator `<`, `>`, `!=` or the like; any other text: equal
 * @param text a number, or a range: `40-1500`, `40:1500`
 */
export function compared(field: string, comparator: string, text: string): Beyond {
  const value = usual[field];
  const [first = Number.NaN, last = first] = text.split(/[:-]/).map((part) => Number.parseInt(part, 10));
  if (value === undefined || Number.isNaN(first)) return "part";
  return isMatch(value, comparator, first, last) ? "rest" : "part";
}

function isMatch(value: number, comparator: string, first: number, last: number): boolean {
  if (comparator.startsWith("<")) return value < first;
  if (comparator.startsWith(">")) return value > first;
  // Packets have many values: a single one is that of a few.
  const isIn = first < last && first <= value && value <= last;
  return comparator === "!=" ? !isIn : isIn;
}

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** How many packets exceed a rate such as `5/minute`: most, if it allows less than one in a second. */
export function aboveRate(text: string): Beyond {
  const [, count, unit = ""] = /^(\d+)\/([smhdw])/.exec(text) ?? [];
  return count !== undefined && Number(count) < (seconds[unit] ?? 0) ? "rest" : "part";
}

/** How many packets belong to connections that exceed a number of them for each address: most, if the number is small. */
export function aboveCount(text: string): Beyond {
  return Number(text) < fewConnections ? "rest" : "part";
}

const fewConnections = 10;
