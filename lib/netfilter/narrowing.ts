/** Conditions that match by something else than addresses, ports and states, and how many packets they match. */
import type { Beyond, Effect } from "./chain.ts";

/** What a packet of any application may have. Fields that vary have many values: a single one is that of a few. */
const usual: Readonly<Record<string, { readonly value: number; readonly varies?: true }>> = {
  ttl: { value: 62, varies: true },
  length: { value: 60, varies: true },
  "udp length": { value: 40, varies: true },
  maxseg: { value: 1460, varies: true },
  hdrlength: { value: 5 },
  // The flag "do not fragment". Connection tracking reassembles fragments before most chains see them.
  "frag-off": { value: 0x4000 },
  dscp: { value: 0 },
  ecn: { value: 0 },
  tos: { value: 0 },
  priority: { value: 0 },
};

/** The words of nft for 0. */
const zeros: ReadonlySet<string> = new Set(["cs0", "be", "not-ect", "none"]);

/**
 * How many packets `ttl < 3` matches.
 *
 * @param comparator `<`, `>`, `!=` or the like; any other text: equal to one of `texts`
 * @param texts numbers, words of nft, or ranges: `40-1500`, `40:1500`
 * @param mask the bits that are compared
 */
export function compared(field: string, comparator: string, texts: readonly string[], mask?: number): Beyond {
  const known = usual[field];
  if (known === undefined) {
    if (comparator === "!=") return "rest";
    return mask !== undefined || /^[<>]/.test(comparator) ? "unclear" : "part";
  }
  const value = mask === undefined ? known.value : known.value & mask;
  const isAny = texts.some((text) => isMatch(value, comparator, text, known.varies === true));
  return isAny !== (comparator === "!=") ? "rest" : "part";
}

function isMatch(value: number, comparator: string, text: string, varies: boolean): boolean {
  const [first = Number.NaN, last = first] = zeros.has(text) ? [0] : text.split(/[:-]/).map(Number);
  if (comparator.startsWith("<")) return value < first;
  if (comparator.startsWith(">")) return value > first;
  return first <= value && value <= last && !(varies && first === last);
}

/** How many packets an option of TCP's header selects: every connection has these. */
export function havingTcpOption(name: string, isMissing: boolean): Beyond {
  return usualOptions.has(name) === isMissing ? "part" : "rest";
}

/** The names of nft, and the numbers. */
const usualOptions: ReadonlySet<string> = new Set(
  "nop 1 maxseg 2 window 3 sack-perm sack-permitted 4 timestamp 8".split(" "),
);

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };
const bytes: Readonly<Record<string, number>> = { k: 1_024, m: 1_048_576, g: 1_073_741_824 };

/**
 * How many packets exceed a rate such as `5/minute`, `512kb/s` or `10 mbytes/second`: most, if it allows less than one in a second.
 *
 * @param unit of bytes. Absent: packets
 */
export function aboveRate(text: string, unit = ""): Beyond {
  const [, count, size, factor = "", per = ""] =
    /^(\d+)(([kmg]?)b(?:ytes)?)?\/([smhdw])/.exec(`${text}${unit}`) ?? [];
  const packets = size === undefined ? 1 : (bytes[factor] ?? 1) / packetBytes;
  return count !== undefined && Number(count) * packets < (seconds[per] ?? 0) ? "rest" : "part";
}

/** Of a packet that carries some data. */
const packetBytes = 1_000;

/** How many packets belong to connections that exceed a number of them for each address: most, if the number is small. */
export function aboveCount(text: string): Beyond {
  return Number(text) < fewConnections ? "rest" : "part";
}

const fewConnections = 10;

/**
 * How many packets keep below what others exceed. A rule that harms them harms those of connections that just begin; one that
 * lets them pass leaves the rest of a busy connection.
 *
 * @param above how many exceed it
 */
export function below(above: Beyond, effect: Effect): Beyond {
  return above === "part" && effect.kind === "harm" ? "rest" : "part";
}

/**
 * How many packets belong to connections that carried so many packets or bytes: most, if that is none.
 *
 * @param range `1000`, `0:9`, `1000:`
 */
export function carried(range: string, isInverted: boolean): Beyond {
  const [first = 0, last] = range.split(":").map((text) => (text === "" ? undefined : Number(text)));
  const isAll = first <= 1 && last === undefined;
  return isAll !== isInverted ? "rest" : "part";
}
