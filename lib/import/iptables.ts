/** Reads the rules of iptables as objects: the inverse of lib/plan/iptables/layout.ts. */
import { type Chunked, everyNth } from "../chunked.ts";
import { hostMask, hostOf } from "../iptables/masked.ts";
import { certainty, jumpTo, makeRule, type Rule, type TableName } from "../iptables/rule.ts";
import type { RuleDump } from "../iptables/save.ts";
import type { Family } from "../model/family.ts";
import type { Cidr, Ip } from "../model/ip.ts";
import type { Backend } from "../model/schema.ts";
import type { IptablesObserved } from "../plan/iptables/observed.ts";
import { readBackends } from "./backends.ts";
import { groupChunked, serviceText } from "./groups.ts";
import { clientsInFilter, clientsOf } from "./guard.ts";
import type { FipHalf, ReadContext, ReadDnat, ReadRules, Source, Unread } from "./read-rules.ts";
import { readSnatRules } from "./snat-rules.ts";

export function* readIptables(observed: IptablesObserved, context: ReadContext): Chunked<ReadRules> {
  const { variant, rules, filterTables, backends } = observed;
  const { family } = context;
  const known = yield* filterTables === undefined
    ? clientsInFilter(rules, family)
    : clientsOf(filterTables.elements, family);
  const read = yield* readDump(`iptables-${variant}`, rules, known, context);
  const isAgents = read.isAgents || filterTables?.definitions.guard !== undefined;
  if (backends === undefined) return { ...read, isAgents };
  const table = readBackends(backends, family);
  const dnats = [...read.dnats, ...table.dnats];
  return { ...read, dnats, unread: [...read.unread, ...table.unread], isAgents };
}

/** Takes a few milliseconds. */
const readAtOnce = 2_000;

/**
 * @param tool for people: `iptables-nft`
 * @param known CIDRs that the guard knows: {@link readSnatRules}
 */
export function* readDump(
  tool: string,
  rules: RuleDump,
  known: readonly Cidr[],
  { family }: ReadContext,
): Chunked<ReadRules> {
  const unread: Unread[] = [];
  const isDue = everyNth(readAtOnce);
  const rulesOf = (chain: string) => rules.get("nat")?.get(chain) ?? [];
  const sourceIn =
    (table: TableName, chain: string) =>
    (rule: Rule): Source => ({
      what: `-A ${chain} ${rule.raw}`,
      where: `${tool} ${table} ${chain}`,
    });
  function* read<T>(
    chain: string,
    parse: (rule: Rule) => T | undefined,
  ): Chunked<(T & { source: Source })[]> {
    const found: (T & { source: Source })[] = [];
    const sourceOf = sourceIn("nat", chain);
    for (const rule of rulesOf(chain)) {
      if (isDue()) yield;
      const value = parse(rule);
      if (value === undefined) unread.push({ ...sourceOf(rule), why: whyNot[chain] ?? notOurs });
      else found.push({ ...value, source: sourceOf(rule) });
    }
    return found;
  }
  const inward = yield* read("EXCLUSIVE_DNAT", (rule) => inwardHalf(rule, family));
  const outward = yield* read("EXCLUSIVE_SNAT", (rule) => outwardHalf(rule, family));
  const shares = yield* read("SHARED_DNAT", (rule) => shareOf(rule, family));
  const hairpins = yield* read("HAIRPIN_SNAT", (rule) => hairpinOf(rule, family));
  yield;
  const snats = yield* readSnatRules(rulesOf("SHARED_SNAT"), sourceIn("nat", "SHARED_SNAT"), known, family);
  yield;
  for (const [table, chain, targets] of jumpChains)
    for (const rule of rules.get(table)?.get(chain) ?? [])
      if (!isJump(rule, targets)) unread.push({ ...sourceIn(table, chain)(rule), why: notOurs });
  const dnats = yield* dnatsOf(shares, unread);
  return {
    inward,
    outward,
    dnats,
    pools: snats.pools,
    hairpins: new Set(hairpins.map(({ eip }) => eip)),
    unread: [...unread, ...snats.unread],
    isAgents: rules.get("filter")?.has("NATGW_GUARD") ?? false,
  };
}

const notOurs = "not a rule of this chain's layout";
const whyNot: Readonly<Record<string, string>> = {
  EXCLUSIVE_DNAT: "not the inward half of a FIP",
  EXCLUSIVE_SNAT: "not the outward half of a FIP",
  SHARED_DNAT: "not a rule of a DNAT",
  HAIRPIN_SNAT: "not the hairpin rule of an EIP",
};

/** The chains that lead to the others, with their targets. VPC_MARK has one rule, which marks. */
const jumpChains: readonly (readonly [table: TableName, chain: string, targets: readonly string[]])[] = [
  ["nat", "DNAT_FILTER", ["EXCLUSIVE_DNAT", "SHARED_DNAT"]],
  ["nat", "SNAT_FILTER", ["EXCLUSIVE_SNAT", "SHARED_SNAT", "HAIRPIN_SNAT"]],
  ["mangle", "VPC_MARK", []],
];

function isJump({ text, spec }: Rule, targets: readonly string[]): boolean {
  return targets.length === 0
    ? spec?.target.kind === "mark"
    : targets.some((name) => jumpTo(name).text === text);
}

function inwardHalf({ spec, text }: Rule, family: Family): Omit<FipHalf, "source"> | undefined {
  if (spec?.target.kind !== "dnat" || spec.destination === undefined) return undefined;
  const { destination, target } = spec;
  const eip = hostOf(destination, family);
  if (eip === undefined || target.port !== undefined || makeRule({ destination, target }).text !== text)
    return undefined;
  return { eip, internalIp: target.to };
}

function outwardHalf({ spec, text }: Rule, family: Family): Omit<FipHalf, "source"> | undefined {
  if (spec?.target.kind !== "snat" || spec.source === undefined) return undefined;
  const { source, target } = spec;
  const internalIp = hostOf(source, family);
  if (internalIp === undefined || makeRule({ source, target }).text !== text) return undefined;
  return { eip: target.to, internalIp };
}

function hairpinOf({ spec }: Rule, family: Family): { readonly eip: Ip } | undefined {
  if (spec?.target.kind !== "snat" || spec.ctState !== "DNAT") return undefined;
  const { target, ctOriginalDestination } = spec;
  return ctOriginalDestination === hostMask(target.to, family) ? { eip: target.to } : undefined;
}

/** One rule of a DNAT: its backend, and how many packets that came so far it takes. */
interface Share extends Omit<ReadDnat, "source" | "backends" | "isList"> {
  readonly backend: Backend;
  readonly probability: number | undefined;
  readonly source: Source;
}

function shareOf({ spec, text }: Rule, family: Family): Omit<Share, "source"> | undefined {
  if (spec?.target.kind !== "dnat" || spec.destination === undefined) return undefined;
  const { destination, protocol, destinationPort, probability, target } = spec;
  const eip = hostOf(destination, family);
  if (eip === undefined || protocol === undefined || destinationPort === undefined) return undefined;
  if (makeRule({ destination, protocol, destinationPort, probability, target }).text !== text)
    return undefined;
  const backend = { ip: target.to, port: target.port ?? destinationPort };
  return { eip, protocol, externalPort: destinationPort, backend, probability };
}

/** Several rules for one port are a DNAT with several backends if their shares are equal. */
function* dnatsOf(shares: readonly Share[], unread: Unread[]): Chunked<readonly ReadDnat[]> {
  const dnats: ReadDnat[] = [];
  const isDue = everyNth(readAtOnce);
  const services = yield* groupChunked(shares, serviceText);
  for (const all of services.values()) {
    if (isDue()) yield;
    // What comes after a rule that takes all packets gets none.
    const end = all.findIndex(({ probability }) => probability === undefined) + 1;
    const used = all.slice(0, end === 0 ? all.length : end);
    for (const { source } of all.slice(used.length))
      unread.push({ ...source, why: "an earlier rule takes all packets of this port" });
    const isEqual = used.every(
      ({ probability }, at) => (probability ?? certainty) === Math.round(certainty / (used.length - at)),
    );
    const [first, ...others] = used;
    if (first === undefined) continue;
    if (!isEqual) {
      for (const { source } of used) unread.push({ ...source, why: "the backends have unequal shares" });
      continue;
    }
    const { eip, protocol, externalPort, backend, source } = first;
    const backends = [backend, ...others.map((other) => other.backend)] as const;
    dnats.push({ eip, protocol, externalPort, backends, isList: others.length > 0, source });
  }
  return dnats;
}
