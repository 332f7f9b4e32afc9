/** Reads SHARED_SNAT: the rules of one CIDR are its SNATs, and rules with a mask are the buckets of a pool. */
import { type Chunked, everyNth, sortChunked } from "../chunked.ts";
import { maskedParts } from "../iptables/masked.ts";
import { makeRule, type Rule } from "../iptables/rule.ts";
import type { Family } from "../model/family.ts";
import { addressOf, type Cidr, prefixLengthOf } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import { membersOf } from "./members.ts";
import type { Member, ReadPool, Source, Unread } from "./read-rules.ts";

/** One rule of the chain, as far as it can be read. */
interface SnatRule {
  readonly cidr: Cidr;
  /** Absent for a rule without a mask: it is for all clients. */
  readonly bucket?: { readonly number: number; readonly count: number };
  readonly interface: InterfaceName | undefined;
  readonly member: Member;
  readonly source: Source;
}

/** The rules of one CIDR with one outgoing interface. */
interface Group {
  readonly cidr: Cidr;
  readonly interface: InterfaceName | undefined;
  readonly rules: SnatRule[];
}

/**
 * @param known CIDRs that SNATs had by another reading. They tell a small pool, whose buckets are single clients, from SNATs of
 *   these clients
 */
export function* readSnatRules(
  rules: readonly Rule[],
  sourceOf: (rule: Rule) => Source,
  known: readonly Cidr[],
  family: Family,
): Chunked<{ readonly pools: readonly ReadPool[]; readonly unread: readonly Unread[] }> {
  const groups = new Map<string, Group>();
  const unread: Unread[] = [];
  const isDue = everyNth(readAtOnce);
  for (const rule of rules) {
    if (isDue()) yield;
    const read = readRule(rule, sourceOf(rule), family);
    if (read === undefined) {
      unread.push({ ...sourceOf(rule), why: "not a rule of an SNAT" });
      continue;
    }
    const key = groupKey(read.cidr, read.interface);
    const group = groups.get(key) ?? { cidr: read.cidr, interface: read.interface, rules: [] };
    groups.set(key, group);
    group.rules.push(read);
  }
  const pools = [...(yield* takeSmallPools(groups, known, family))];
  for (const { rules: of, ...where } of groups.values()) {
    if (isDue()) yield;
    const buckets = of.filter(({ bucket }) => bucket !== undefined);
    const plain = of.filter(({ bucket }) => bucket === undefined);
    const [first] = plain;
    const members = buckets.length > 0 ? membersOfBuckets(buckets) : membersOfPlain(plain);
    const [head, ...rest] = members ?? [];
    const source = (buckets[0] ?? first)?.source;
    if (head !== undefined && source !== undefined)
      pools.push({ ...where, members: [head, ...rest], source });
    const lost = members === undefined ? of : buckets.length > 0 ? plain : [];
    const why =
      members === undefined
        ? "its buckets are not those of a pool"
        : "rules with masks divide the same clients otherwise";
    for (const { source: one } of lost) unread.push({ ...one, why });
  }
  return { pools, unread };
}

function groupKey(cidr: Cidr, name: InterfaceName | undefined): string {
  return `${cidr} ${name ?? ""}`;
}

function readRule({ spec, text }: Rule, source: Source, family: Family): SnatRule | undefined {
  if (spec?.target.kind !== "snat") return undefined;
  const { target, outInterface } = spec;
  if (makeRule({ source: spec.source, outInterface, target }).text !== text) return undefined;
  const member: Member = { eip: target.to, mapping: target.isRandom ? "random" : "preserve" };
  const rest = { interface: outInterface, member, source };
  if (spec.source === undefined) return { cidr: family.everything, ...rest };
  const { address, mask } = maskedParts(spec.source, family);
  const length = family.lengthOfMask(mask);
  if (length !== undefined) return { cidr: family.makeCidr(family.format(address), length), ...rest };
  for (let prefix = 0; prefix < family.bits; prefix++)
    for (let count = 2; count <= maxBuckets; count *= 2) {
      if (family.bucketMask(prefix, count) !== mask) continue;
      const cidr = family.makeCidr(family.format(address), prefix);
      return { cidr, bucket: { number: family.modulo(address, count), count }, ...rest };
    }
  return undefined;
}

const maxBuckets = 65_536;

/** Takes a few milliseconds. */
const readAtOnce = 1_000;

/** The first of two rules for one bucket takes its clients. */
function membersOfBuckets(rules: readonly SnatRule[]): readonly Member[] | undefined {
  const count = rules[0]?.bucket?.count ?? 1;
  const seen = new Map<number, Member>();
  for (const { bucket, member } of rules) {
    if (bucket?.count !== count) return undefined;
    if (!seen.has(bucket.number)) seen.set(bucket.number, member);
  }
  return seen.size === count ? membersOf(seen, count) : undefined;
}

/** Several rules for the same clients are a pool of which only the first member was in use. */
function membersOfPlain(rules: readonly SnatRule[]): readonly Member[] {
  const members = new Map(rules.toReversed().map(({ member }) => [member.eip, member]));
  return [...members.values()].reverse();
}

/** Takes the rules of known networks that have no rule of their own out of `groups`: each of their clients has one. */
function* takeSmallPools(
  groups: Map<string, Group>,
  known: readonly Cidr[],
  family: Family,
): Chunked<readonly ReadPool[]> {
  const pools: ReadPool[] = [];
  if (known.length === 0) return pools;
  const isDue = everyNth(readAtOnce);
  const interfaces = new Set([...groups.values()].map((group) => group.interface));
  const isKnown = new Set(known);
  // The buckets of a wider one are rules with masks.
  const narrow = known.filter((cidr) => isSmall(cidr, family));
  const widestFirst = yield* sortChunked(narrow, (one, other) => prefixLengthOf(one) - prefixLengthOf(other));
  for (const name of interfaces)
    for (const cidr of widestFirst) {
      if (isDue()) yield;
      if (groups.has(groupKey(cidr, name))) continue;
      const hosts = hostsIn(cidr, name, groups, family);
      const seen = new Map<number, Member>();
      for (const [at, { rules }] of hosts?.entries() ?? []) {
        const last = rules.at(-1);
        if (last !== undefined) seen.set(at, last.member);
      }
      const members = hosts && membersOf(seen, hosts.length);
      const source = hosts?.[0]?.rules.at(-1)?.source;
      if (members === undefined || source === undefined || members.length === 1) continue;
      pools.push({ cidr, interface: name, members, source });
      for (const host of hosts ?? []) {
        // One rule may stand for the client in both.
        if (host.rules.length > 1 || !isKnown.has(host.cidr)) host.rules.pop();
        if (host.rules.length === 0) groups.delete(groupKey(host.cidr, name));
      }
    }
  return pools;
}

/** The rules of each client of a network, by bucket. `undefined` if one has none. */
function hostsIn(
  cidr: Cidr,
  name: InterfaceName | undefined,
  groups: ReadonlyMap<string, Group>,
  family: Family,
): readonly Group[] | undefined {
  const size = 2 ** (family.bits - prefixLengthOf(cidr));
  const hosts: Group[] = [];
  const first = family.toValue(addressOf(cidr));
  for (let at = 0; at < size; at++) {
    const client = family.makeCidr(family.format(family.plus(first, at)), family.bits);
    const group = groups.get(groupKey(client, name));
    if (group === undefined) return undefined;
    hosts.push(group);
  }
  return hosts;
}

/** A network of more than one client, and not more than there are buckets. */
function isSmall(cidr: Cidr, family: Family): boolean {
  const clients = 2 ** (family.bits - prefixLengthOf(cidr));
  return clients > 1 && clients <= maxBuckets;
}
