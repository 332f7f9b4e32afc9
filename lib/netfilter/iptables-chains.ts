/** Parses chains as iptables-save prints them, in either variant. Unknown parts of a rule make it `unclear`. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import { makeCidr, parseCidr, parseIp, rangeOf, toU32 } from "../model/ipv4.ts";
import {
  type Beyond,
  bothBeyond,
  type Chain,
  type ChainRule,
  type Effect,
  type HarmVerb,
  type Hook,
  type HookName,
  type NameTest,
  type Range,
  type Test,
} from "./chain.ts";
import { otherOptions } from "./iptables-options.ts";
import { iptablesUnmarks } from "./marks.ts";
import { below } from "./narrowing.ts";
import { type FlagsShare, flagBits, shareOfFlags } from "./tcp-flags.ts";

/** The chains of all tables in `text`, except the agent's own. */
export function parseIptablesChains(
  ...given: Parameters<typeof parseIptablesChainsChunked>
): readonly Chain[] {
  return runSync(parseIptablesChainsChunked(...given));
}

/** Takes a few milliseconds. */
const parsedAtOnce = 1_000;

/** The same in parts. */
export function* parseIptablesChainsChunked(
  text: string,
  tool: string,
  isOwn: (place: string, chain: string) => boolean,
): Chunked<readonly Chain[]> {
  const chains: Chain[] = [];
  let rules = new Map<string, ChainRule[]>();
  let table = "";
  const isDue = everyNth(parsedAtOnce);
  for (const line of text.split("\n")) {
    if (isDue()) yield;
    if (line.startsWith("*")) {
      table = line.slice(1);
      rules = new Map();
    } else if (line.startsWith(":")) {
      const [name = "", policy] = line.slice(1).split(" ");
      const place = placeOf(tool, table);
      if (isOwn(place, name)) continue;
      const own: ChainRule[] = [];
      rules.set(name, own);
      const hook = builtInHook(table, name, policy === "DROP" ? "drop" : "accept");
      chains.push({ place, name, hook, rules: own });
    } else if (line.startsWith("-A ")) {
      const space = line.indexOf(" ", 3);
      rules.get(line.slice(3, space))?.push(parseIptablesRule(line.slice(space + 1)));
    }
  }
  return chains;
}

/** `iptables-nft -t nat`. */
export function placeOf(tool: string, table: string): string {
  return `${tool} -t ${table}`;
}

const priorities: Readonly<Record<string, number>> = { raw: -300, mangle: -150, filter: 0, security: 50 };
const hookNames: Readonly<Record<string, HookName>> = {
  PREROUTING: "prerouting",
  INPUT: "input",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};

/** Where the kernel calls a built-in chain. `undefined` for any other. */
export function builtInHook(table: string, chain: string, policy: Hook["policy"]): Hook | undefined {
  const name = hookNames[chain];
  if (name === undefined) return undefined;
  const isLate = name === "postrouting" || name === "input";
  const priority = table === "nat" ? (isLate ? 100 : -100) : (priorities[table] ?? 0);
  return { name, type: table === "nat" ? "nat" : "filter", priority, policy, devices: [] };
}

/** @param raw the text after `-A CHAIN ` */
export function parseIptablesRule(raw: string): ChainRule {
  const words = Array.from(raw.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g), ([word]) => word);
  const tests: Test[] = [];
  let beyond: Beyond = "all";
  const limits: Beyond[] = [];
  let isInverted = false;
  let at = 0;
  let effect: Effect = { kind: "continue" };
  for (; at < words.length; at++) {
    const word = words[at] ?? "";
    const value = words[at + 1] ?? "";
    if (word === "-j" || word === "-g") {
      effect = effectOf(words, at);
      break;
    }
    if (word === "!") {
      isInverted = true;
      continue;
    }
    const test = parseTest(word, value, isInverted);
    const flags = flagsShare(word, value, words[at + 2], isInverted);
    if (test !== undefined) {
      tests.push(test);
      at++;
    } else if (flags !== undefined) {
      if (flags.test !== undefined) tests.push(flags.test);
      beyond = bothBeyond(beyond, flags.beyond);
      at += word === "--syn" ? 0 : 2;
    } else {
      const { share, values, above } = otherOptions(word, value, isInverted);
      if (above !== undefined) limits.push(above);
      beyond = bothBeyond(beyond, share);
      at += values;
    }
    isInverted = false;
  }
  for (const above of limits) beyond = bothBeyond(beyond, below(above, effect));
  const unmarks = iptablesUnmarks(words.slice(at));
  return { text: raw, tests, beyond, ...(unmarks && { unmarks }), effect };
}

function parseTest(option: string, value: string, isInverted: boolean): Test | undefined {
  switch (option) {
    case "-s":
    case "-d": {
      const range = parseMaskedRange(value);
      return range && { field: option === "-s" ? "source" : "destination", ranges: [range], isInverted };
    }
    case "--src-range":
    case "--dst-range": {
      const ranges = rangesOf([value]);
      return ranges && { field: option === "--src-range" ? "source" : "destination", ranges, isInverted };
    }
    case "-i":
    case "-o":
      return nameTest(option === "-i" ? "in" : "out", [value.replace(/\+$/, "*")], isInverted);
    case "-p":
      return nameTest("protocol", [protocolName(value)], isInverted);
    case "--ctstate":
    case "--state": {
      const names = value.toLowerCase().split(",");
      if (names.every((name) => statuses.has(name))) return nameTest("status", names, isInverted);
      return names.every((name) => states.has(name)) ? nameTest("state", names, isInverted) : undefined;
    }
    case "--sport":
    case "--sports":
      return { field: "sourcePort", ranges: parsePorts(value), isInverted };
    case "--dport":
    case "--dports":
      return { field: "destinationPort", ranges: parsePorts(value), isInverted };
    default:
      return undefined;
  }
}

/** What was translated, which iptables has among the states. */
export const statuses: ReadonlySet<string> = new Set(["snat", "dnat"]);
const states: ReadonlySet<string> = new Set(["invalid", "new", "related", "established", "untracked"]);

function flagsShare(
  option: string,
  mask: string,
  flags: string | undefined,
  isInverted: boolean,
): FlagsShare | undefined {
  if (option !== "--syn" && option !== "--tcp-flags") return undefined;
  const [among, wanted] =
    option === "--syn" ? ["FIN,SYN,RST,ACK", "SYN"].map(flagBits) : [flagBits(mask), flagBits(flags ?? "")];
  if (among === undefined || wanted === undefined) return { beyond: "unclear" };
  return shareOfFlags((one) => ((one & among) === wanted) !== isInverted);
}

function nameTest(field: NameTest["field"], names: readonly string[], isInverted: boolean): NameTest {
  return { field, names, isInverted };
}

const harms: Readonly<Record<string, HarmVerb>> = {
  DROP: "drops",
  REJECT: "drops",
  DNAT: "translates",
  SNAT: "translates",
  MASQUERADE: "translates",
  REDIRECT: "translates",
  NETMAP: "translates",
  NOTRACK: "does not track",
  TPROXY: "takes",
};
const harmless = new Set(
  "MARK CONNMARK LOG NFLOG ULOG TRACE TCPMSS TTL TOS DSCP CLASSIFY CHECKSUM TEE SET AUDIT ECN".split(" "),
);

function effectOf(words: readonly string[], at: number): Effect {
  const target = words[at + 1] ?? "";
  const verb = harms[target];
  if (words[at] === "-g") return { kind: "goto", chain: target };
  if (verb !== undefined) return { kind: "harm", verb };
  if (target === "CT") {
    if (words.includes("--notrack")) return { kind: "harm", verb: "does not track" };
    // A flow is found again only if packets of both directions get the same zone.
    const isElsewhere = words.some((word, index) => /^--zone/.test(word) && words[index + 1] !== "0");
    return isElsewhere ? { kind: "harm", verb: "does not track", isMaybe: true } : { kind: "continue" };
  }
  if (target === "TTL" && isFatalTtl(words.slice(at))) return { kind: "harm", verb: "rewrites" };
  if (target === "ACCEPT") return { kind: "accept" };
  if (target === "RETURN") return { kind: "return" };
  if (harmless.has(target)) return { kind: "continue" };
  // A target with options is one of the kernel. Chains have no options.
  return words.length > at + 2 || /^(?:NF)?QUEUE$|^SYNPROXY$/.test(target)
    ? { kind: "unclear" }
    : { kind: "jump", chain: target };
}

/** True if routers drop the packet soon. */
function isFatalTtl(words: readonly string[]): boolean {
  const numberOf = (option: string) => Number(words[words.indexOf(option) + 1]);
  if (words.includes("--ttl-set")) return numberOf("--ttl-set") < minTtl;
  return words.includes("--ttl-dec") && numberOf("--ttl-dec") > 64 - minTtl;
}

/** The gateway forwards nothing with a TTL of 1. */
export const minTtl = 2;

const protocolNames: Readonly<Record<string, string>> = {
  "1": "icmp",
  "6": "tcp",
  "17": "udp",
  "132": "sctp",
};

/** One name for a protocol, however it is written. */
export function protocolName(text: string): string {
  return protocolNames[text] ?? text;
}

/** An address, a network, or an address with a prefix mask. `undefined` for any other text. */
function parseMaskedRange(text: string): Range | undefined {
  const cidr = parseCidr(text);
  if (cidr !== undefined) return rangeOf(cidr);
  const [address, mask] = text.split("/").map(parseIp);
  if (address === undefined || mask === undefined) return undefined;
  const length = Math.clz32(~toU32(mask));
  return toU32(mask) === (length === 0 ? 0 : (-1 << (32 - length)) >>> 0)
    ? rangeOf(makeCidr(address, length))
    : undefined;
}

/** Parses `10.0.1.5`, `10.0.1.0/24`, `10.0.0.1-10.0.0.9`. `undefined` if one of them is none of these. */
export function rangesOf(values: readonly string[]): readonly Range[] | undefined {
  const ranges = values.map((value): Range | undefined => {
    const [first = "", last = first] = value.split("-");
    const [from, to] = [parseMaskedRange(first), parseMaskedRange(last)];
    return from && to && [from[0], to[1]];
  });
  return ranges.every((range) => range !== undefined) ? ranges : undefined;
}

/** `80,443`, `8000:9000`. */
function parsePorts(text: string): readonly Range[] {
  return text.split(",").map((part): Range => {
    const [first = 0, last = first] = part.split(":").map(Number);
    return [first, last];
  });
}
