/** Parses one rule as iptables-save prints it or iptables-restore accepts it. */
import type { Family } from "../model/family.ts";
import { parseInterfaceName } from "../model/names.ts";
import type { Protocol } from "../model/schema.ts";
import { isAnyAddress, parseMasked } from "./masked.ts";
import { type CtState, certainty, ctStates, type Mark, type Rule, type RuleSpec, ruleText } from "./rule.ts";

/**
 * Parses the text after `-A CHAIN `. Never fails: a rule that the agent never writes (another match, a negation, a
 * repeated match) becomes opaque and keeps its text.
 */
export function parseRule(raw: string, family: Family): Rule {
  const spec = parseSpec(raw.split(" "), family);
  const text = spec === undefined ? raw : ruleText(spec);
  // Both texts are mostly equal. Sharing one string saves memory with 30,000 rules.
  return { text: text === raw ? raw : text, raw, spec };
}

type Draft = { -readonly [K in keyof Omit<RuleSpec, "target">]: RuleSpec[K] };

const protocols: Readonly<Record<string, Protocol>> = {
  tcp: "tcp",
  udp: "udp",
  sctp: "sctp",
  "6": "tcp",
  "17": "udp",
  "132": "sctp",
};
const plainModules = new Set(["mark", "conntrack", "statistic"]);
const targetName = /^[A-Za-z0-9_.:-]+$/;
const u32Text = /^(?:0x[0-9a-fA-F]{1,8}|[0-9]{1,10})$/;

function parseSpec(words: readonly string[], family: Family): RuleSpec | undefined {
  const draft = emptyDraft();
  let mode: string | undefined;
  let index = 0;
  for (; index < words.length; index += 2) {
    const option = words[index];
    const value = words[index + 1];
    if (value === undefined) return undefined;
    if (option === "-j") break;
    if (option === "-m") {
      if (!plainModules.has(value) && value !== draft.protocol) return undefined;
    } else if (option === "--mode") {
      if (mode !== undefined || value !== "random") return undefined;
      mode = value;
    } else if (!takeMatch(draft, option, value, family)) {
      return undefined;
    }
  }
  const target = parseTarget(words, index + 1, family);
  if (target === undefined || (mode === undefined) !== (draft.probability === undefined)) return undefined;
  if (isAnyAddress(draft.source)) draft.source = undefined;
  if (isAnyAddress(draft.destination)) draft.destination = undefined;
  return Object.assign(draft, { target });
}

/** Sets all fields at once, so that all rules share one V8 hidden class. A pass parses 30,000 rules. */
function emptyDraft(): Draft {
  return {
    source: undefined,
    destination: undefined,
    inInterface: undefined,
    outInterface: undefined,
    protocol: undefined,
    sourcePort: undefined,
    destinationPort: undefined,
    mark: undefined,
    ctState: undefined,
    ctOriginalDestination: undefined,
    ctDirection: undefined,
    probability: undefined,
  };
}

/** Adds one match to the draft. False if it is unknown, malformed or repeated. */
function takeMatch(draft: Draft, option: string | undefined, value: string, family: Family): boolean {
  switch (option) {
    case "-s":
      return put(draft, "source", parseMasked(value, family));
    case "-d":
      return put(draft, "destination", parseMasked(value, family));
    case "-i":
      return put(draft, "inInterface", parseInterfaceName(value));
    case "-o":
      return put(draft, "outInterface", parseInterfaceName(value));
    case "-p":
      return put(draft, "protocol", protocols[value]);
    case "--sport":
      return put(draft, "sourcePort", parsePort(value));
    case "--dport":
      return put(draft, "destinationPort", parsePort(value));
    case "--mark":
      return put(draft, "mark", parseMark(value));
    case "--ctstate":
      return put(draft, "ctState", parseCtState(value));
    case "--ctorigdst":
      return put(draft, "ctOriginalDestination", parseMasked(value, family));
    case "--ctdir":
      return put(draft, "ctDirection", value === "ORIGINAL" ? value : undefined);
    case "--probability":
      return put(draft, "probability", parseProbability(value));
    default:
      return false;
  }
}

function put<K extends keyof Draft>(draft: Draft, field: K, value: Draft[K]): boolean {
  if (value === undefined || draft[field] !== undefined) return false;
  draft[field] = value;
  return true;
}

function parseTarget(words: readonly string[], at: number, family: Family): RuleSpec["target"] | undefined {
  const name = words[at];
  const option = words[at + 1];
  const value = words[at + 2];
  switch (name) {
    case undefined:
      return undefined;
    case "DNAT":
      return words.length === at + 3 && option === "--to-destination" ? parseDnat(value, family) : undefined;
    case "SNAT":
      return parseSnat(words.slice(at + 1), family);
    case "MARK": {
      const mark = words.length === at + 3 && option === "--set-xmark" ? parseMark(value ?? "") : undefined;
      return mark && { kind: "mark", mark };
    }
    default:
      if (words.length !== at + 1 || !targetName.test(name)) return undefined;
      return name === "DROP" ? { kind: "drop" } : { kind: "jump", chain: name };
  }
}

function parseDnat(text: string | undefined, family: Family): RuleSpec["target"] | undefined {
  const endpoint = family.parseEndpoint(text ?? "");
  if (endpoint === undefined) return undefined;
  const port = endpoint.port === undefined ? undefined : parsePort(endpoint.port);
  if (endpoint.port !== undefined && port === undefined) return undefined;
  return { kind: "dnat", to: endpoint.address, port };
}

function parseSnat(options: readonly string[], family: Family): RuleSpec["target"] | undefined {
  const random = options.indexOf("--random-fully");
  const rest = random < 0 ? options : options.toSpliced(random, 1);
  const to = rest.length === 2 && rest[0] === "--to-source" ? family.parse(rest[1] ?? "") : undefined;
  return to && { kind: "snat", to, isRandom: random >= 0 };
}

function parsePort(text: string): number | undefined {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65535 ? port : undefined;
}

function parseMark(text: string): Mark | undefined {
  const slash = text.indexOf("/");
  const value = parseU32(slash < 0 ? text : text.slice(0, slash));
  const mask = slash < 0 ? 0xffffffff : parseU32(text.slice(slash + 1));
  return value === undefined || mask === undefined ? undefined : { value, mask };
}

function parseU32(text: string): number | undefined {
  const value = u32Text.test(text) ? Number(text) : Number.NaN;
  return value <= 0xffffffff ? value : undefined;
}

function parseCtState(text: string): CtState | undefined {
  return ctStates.find((state) => state === text);
}

/** Rounds as iptables does: the kernel stores a 31-bit fraction. */
function parseProbability(text: string): number | undefined {
  const share = /^[0-9]\.?[0-9]*$/.test(text) ? Number(text) : Number.NaN;
  return share <= 1 ? Math.round(share * certainty) : undefined;
}
