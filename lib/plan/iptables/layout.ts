/**
 * The rules that a program needs, in the layout that Kube-OVN's tools expect:
 *
 *     nat      PREROUTING  > DNAT_FILTER > EXCLUSIVE_DNAT (FIP in), SHARED_DNAT
 *              POSTROUTING > SNAT_FILTER > EXCLUSIVE_SNAT (FIP out), SHARED_SNAT, HAIRPIN_SNAT (EIP)
 *     mangle   PREROUTING  > VPC_MARK                     what HAIRPIN_SNAT knows the VPC's packets by
 *
 * Guard and gates are nftables tables; where there is no nft they stand in filter, as filter.ts says. DNATs with a list of
 * backends are in an nftables table, too (backends.ts); where there is no nft they are rules of SHARED_DNAT, which cannot choose by
 * the client's address: DNATs with session affinity have none there.
 */
import { type Chunked, everyNth, filterChunked, mapChunked, runSync } from "../../chunked.ts";
import { bucketMask, hostMask, networkMask } from "../../iptables/masked.ts";
import { certainty, jumpTo, type Mark, makeRule, type Rule, type TableName } from "../../iptables/rule.ts";
import type { Family } from "../../model/family.ts";
import type { Cidr } from "../../model/ip.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import { bucketsOf, type Program, type ProgramDnat } from "../../model/program.ts";
import { isInTable } from "./backends.ts";
import { ownedChains } from "./owned.ts";

export interface WantedRule {
  readonly rule: Rule;
  /** The object that needs the rule. Absent for fixed rules. */
  readonly object?: ObjectId;
  /** SHARED_SNAT only: the clients of the rule's pool and their outgoing interface. */
  readonly pool?: { readonly cidr: Cidr; readonly interface: InterfaceName };
}

/**
 * How much the order of a chain's rules matters. `any`: not at all, since no two rules match one packet.
 * `within-object`: the order of the rules of one object. `longest-prefix`: longer prefixes first, nested or not, as
 * Kube-OVN's tests expect it. `exact`: the whole order.
 */
export type ChainOrder = "any" | "within-object" | "longest-prefix" | "exact";

export interface WantedChain {
  readonly name: string;
  readonly order: ChainOrder;
  readonly rules: readonly WantedRule[];
}

/** Jumps from a built-in chain. Each one in `jumps` must exist once, those in `absent` must not exist. */
export interface WantedHook {
  readonly chain: string;
  /** `first`: ahead of all other rules and in this order. `anywhere`: the position does not matter. */
  readonly position: "first" | "anywhere";
  readonly rules: readonly Rule[];
}

export interface WantedTable {
  readonly table: TableName;
  readonly chains: readonly WantedChain[];
  readonly hooks: readonly WantedHook[];
  /** Owned chains that must not exist, with every jump to them from the hooks. */
  readonly absent: readonly string[];
}

const vpcMark: Mark = { value: 1, mask: 1 };

/** @param hasTable true if DNATs with a list of backends are in a table of nftables (backends.ts) */
export function wantedNat(program: Program, hasTable = false): WantedTable {
  return runSync(wantedNatChunked(program, hasTable));
}

/** Both take a few milliseconds. */
const madeAtOnce = 2_000;
const lookedAtOnce = 5_000;

export function* wantedNatChunked(program: Program, hasTable: boolean): Chunked<WantedTable> {
  const inward = yield* inwardRules(program);
  const outward = yield* outwardRules(program);
  const services = yield* serviceRules(program, hasTable);
  const clients = yield* clientRules(program);
  const hairpin = yield* hairpinRules(program);
  return {
    table: "nat",
    chains: [
      jumpsTo("DNAT_FILTER", ["EXCLUSIVE_DNAT", "SHARED_DNAT"]),
      jumpsTo("SNAT_FILTER", ["EXCLUSIVE_SNAT", "SHARED_SNAT", "HAIRPIN_SNAT"]),
      { name: "EXCLUSIVE_DNAT", order: "any", rules: inward },
      { name: "EXCLUSIVE_SNAT", order: "any", rules: outward },
      { name: "SHARED_DNAT", order: "within-object", rules: services },
      { name: "SHARED_SNAT", order: "longest-prefix", rules: clients },
      { name: "HAIRPIN_SNAT", order: "any", rules: hairpin },
    ],
    hooks: [
      { chain: "PREROUTING", position: "anywhere", rules: [jumpTo("DNAT_FILTER")] },
      { chain: "POSTROUTING", position: "anywhere", rules: [jumpTo("SNAT_FILTER")] },
    ],
    absent: [],
  };
}

export function wantedMangle(program: Program): WantedTable {
  const mark = makeRule({ inInterface: program.vpcInterface, target: { kind: "mark", mark: vpcMark } });
  return {
    table: "mangle",
    chains: [{ name: "VPC_MARK", order: "exact", rules: [{ rule: mark }] }],
    hooks: [{ chain: "PREROUTING", position: "anywhere", rules: [jumpTo("VPC_MARK")] }],
    absent: [],
  };
}

/** The tables without anything of the agent's: what a dataplane leaves behind once another took over. */
export const wantedNothing: readonly WantedTable[] = [
  wantedAbsent("nat", ["PREROUTING", "POSTROUTING"]),
  wantedAbsent("mangle", ["PREROUTING"]),
  wantedAbsent("filter", ["FORWARD", "INPUT", "OUTPUT"]),
];

/** A table without anything of the agent's. @param hooked the built-in chains that led to its chains */
export function wantedAbsent(table: TableName, hooked: readonly string[]): WantedTable {
  return {
    table,
    chains: [],
    hooks: hooked.map((chain) => ({ chain, position: "anywhere", rules: [] })),
    absent: ownedChains[table],
  };
}

function jumpsTo(name: string, targets: readonly string[]): WantedChain {
  return { name, order: "exact", rules: targets.map((target) => ({ rule: jumpTo(target) })) };
}

function inwardRules({ fips, family }: Program): Chunked<readonly WantedRule[]> {
  return mapChunked(fips, madeAtOnce, ({ id, eip, internalIp }) => ({
    object: id,
    rule: makeRule({
      destination: hostMask(eip, family),
      target: { kind: "dnat", to: internalIp, port: undefined },
    }),
  }));
}

function* outwardRules({ fips, family }: Program): Chunked<readonly WantedRule[]> {
  const outward = yield* filterChunked(fips, lookedAtOnce, ({ isOutward }) => isOutward);
  return yield* mapChunked(outward, madeAtOnce, ({ id, eip, internalIp }) => ({
    object: id,
    rule: makeRule({
      source: hostMask(internalIp, family),
      target: { kind: "snat", to: eip, isRandom: false },
    }),
  }));
}

function* serviceRules({ dnats, family }: Program, hasTable: boolean): Chunked<readonly WantedRule[]> {
  const rules: WantedRule[] = [];
  let made = 0;
  for (const dnat of dnats) {
    if (hasTable ? isInTable(dnat) : dnat.isSticky) continue;
    made += dnat.backends.length;
    if (made > madeAtOnce) {
      made = 0;
      yield;
    }
    rules.push(...backendRules(dnat, family));
  }
  return rules;
}

/**
 * One rule per bucket. In a small network a bucket is one client. A nested /32 may send that client to the same EIP, so
 * one rule is enough.
 */
function* clientRules({ pools, family }: Program): Chunked<readonly WantedRule[]> {
  const byText = new Map<string, WantedRule>();
  const isDue = everyNth(madeAtOnce);
  for (const pool of pools) {
    const buckets = bucketsOf(pool, family);
    for (const [bucket, { id, eip, mapping }] of buckets.entries()) {
      if (isDue()) yield;
      const source =
        buckets.length === 1 ? networkMask(pool.cidr) : bucketMask(pool.cidr, bucket, buckets.length, family);
      const target = { kind: "snat", to: eip, isRandom: mapping === "random" } as const;
      const rule = makeRule({ source, outInterface: pool.interface, target });
      if (!byText.has(rule.text)) byText.set(rule.text, { object: id, rule, pool });
    }
  }
  return [...byText.values()];
}

/**
 * One rule per backend. Each takes an equal share of the packets that the rules before it left. Uses random mode: the
 * counter of `nth` would also count packets to other ports of the EIP, because the port match comes after it.
 */
function backendRules(dnat: ProgramDnat, family: Family): readonly WantedRule[] {
  return dnat.backends.map(({ ip, port }, index) => {
    const left = dnat.backends.length - index;
    const rule = makeRule({
      destination: hostMask(dnat.eip, family),
      protocol: dnat.protocol,
      destinationPort: dnat.externalPort,
      probability: left === 1 ? undefined : Math.round(certainty / left),
      target: { kind: "dnat", to: ip, port },
    });
    return { object: dnat.id, rule };
  });
}

function hairpinRules({ eips, vpcInterface, family }: Program): Chunked<readonly WantedRule[]> {
  return mapChunked(eips, madeAtOnce, ({ id, address }) => ({
    object: id,
    rule: makeRule({
      outInterface: vpcInterface,
      mark: vpcMark,
      ctState: "DNAT",
      ctOriginalDestination: hostMask(address, family),
      target: { kind: "snat", to: address, isRandom: true },
    }),
  }));
}
