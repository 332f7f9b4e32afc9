/**
 * The rules that a program asks for, in the layout that Kube-OVN's tools look for:
 *
 *     nat      PREROUTING  > DNAT_FILTER > EXCLUSIVE_DNAT (FIP in), SHARED_DNAT
 *              POSTROUTING > SNAT_FILTER > EXCLUSIVE_SNAT (FIP out), SHARED_SNAT, HAIRPIN_SNAT (EIP)
 *     mangle   PREROUTING  > VPC_MARK                     what HAIRPIN_SNAT knows the VPC's packets by
 *     filter   FORWARD     > NATGW_GATE, NATGW_GUARD      legacy only; elsewhere both are nftables tables
 *
 * The gate and the guard stand in filter, where an operator looks for what drops packets. They must be the first in
 * FORWARD, since an ACCEPT ahead of them would be a hole.
 */
import { type Chunked, runSync } from "../../chunked.ts";
import { bucketMask, hostMask, networkMask } from "../../iptables/masked.ts";
import { certainty, jumpTo, type Mark, makeRule, type Rule, type TableName } from "../../iptables/rule.ts";
import type { Family } from "../../model/family.ts";
import type { Cidr } from "../../model/ip.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import { bucketsOf, type Program, type ProgramDnat, ruledEips, type SnatPool } from "../../model/program.ts";
import { outsideInterfaces } from "../gate/barrier.ts";
import { ownedChains } from "./owned.ts";

export interface WantedRule {
  readonly rule: Rule;
  /** The object that asks for it; absent in the frame. */
  readonly object?: ObjectId;
  /** SHARED_SNAT only: the clients that the rule's pool serves and the way they leave. */
  readonly pool?: { readonly cidr: Cidr; readonly interface: InterfaceName };
}

/**
 * How much of a chain's order matters: none of it, as no two rules match one packet; that of the rules of one
 * object; of nested networks the longer prefix first; all of it.
 */
export type ChainOrder = "any" | "within-object" | "longest-prefix" | "exact";

export interface WantedChain {
  readonly name: string;
  readonly order: ChainOrder;
  readonly rules: readonly WantedRule[];
}

/** Jumps from a built-in chain, of each of which there is to be one, or in `absent` none. */
export interface WantedHook {
  readonly chain: string;
  /** `first`: ahead of all other rules and in this order. `anywhere`: as long as it is there. */
  readonly position: "first" | "anywhere";
  readonly rules: readonly Rule[];
}

export interface WantedTable {
  readonly table: TableName;
  readonly chains: readonly WantedChain[];
  readonly hooks: readonly WantedHook[];
  /** Owned chains that are not to be there, with every jump to them from the hooks. */
  readonly absent: readonly string[];
}

const vpcMark: Mark = { value: 1, mask: 1 };

export function wantedNat(program: Program): WantedTable {
  return runSync(wantedNatChunked(program));
}

export function* wantedNatChunked(program: Program): Chunked<WantedTable> {
  const inward = inwardRules(program);
  yield;
  const outward = outwardRules(program);
  yield;
  const hairpin = hairpinRules(program);
  yield;
  return {
    table: "nat",
    chains: [
      frame("DNAT_FILTER", ["EXCLUSIVE_DNAT", "SHARED_DNAT"]),
      frame("SNAT_FILTER", ["EXCLUSIVE_SNAT", "SHARED_SNAT", "HAIRPIN_SNAT"]),
      { name: "EXCLUSIVE_DNAT", order: "any", rules: inward },
      { name: "EXCLUSIVE_SNAT", order: "any", rules: outward },
      {
        name: "SHARED_DNAT",
        order: "within-object",
        rules: program.dnats.flatMap((dnat) => backendRules(dnat, program.family)),
      },
      {
        name: "SHARED_SNAT",
        order: "longest-prefix",
        rules: withoutRepeats(program.pools.flatMap((pool) => poolRules(pool, program.family))),
      },
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

/** The guard and, while it is closed, the gate. */
export function wantedFilter(program: Program, isGateClosed: boolean): WantedTable {
  const between = (outInterface: InterfaceName) => ({ inInterface: program.vpcInterface, outInterface });
  const outside = outsideInterfaces(program).map(between);
  const drop = { kind: "drop" } as const;
  const gate = outside.map((ways) => ({ rule: makeRule({ ...ways, target: drop }) }));
  const guard = outside.map((ways) => ({ rule: makeRule({ ...ways, ctState: "INVALID", target: drop }) }));
  const guardChain: WantedChain = { name: "NATGW_GUARD", order: "exact", rules: guard };
  const gateChain: WantedChain = { name: "NATGW_GATE", order: "exact", rules: gate };
  const chains = isGateClosed ? [gateChain, guardChain] : [guardChain];
  return {
    table: "filter",
    chains,
    hooks: [{ chain: "FORWARD", position: "first", rules: chains.map(({ name }) => jumpTo(name)) }],
    absent: isGateClosed ? [] : ["NATGW_GATE"],
  };
}

/** The tables without anything of the agent's: what a dataplane leaves behind once another took over. */
export const wantedNothing: readonly WantedTable[] = (
  [
    ["nat", ["PREROUTING", "POSTROUTING"]],
    ["mangle", ["PREROUTING"]],
    ["filter", ["FORWARD"]],
  ] as const
).map(([table, hooked]) => ({
  table,
  chains: [],
  hooks: hooked.map((chain) => ({ chain, position: "anywhere", rules: [] })),
  absent: ownedChains[table],
}));

function frame(name: string, targets: readonly string[]): WantedChain {
  return { name, order: "exact", rules: targets.map((target) => ({ rule: jumpTo(target) })) };
}

function inwardRules({ fips, family }: Program): readonly WantedRule[] {
  return fips.map(({ id, eip, internalIp }) => ({
    object: id,
    rule: makeRule({
      destination: hostMask(eip, family),
      target: { kind: "dnat", to: internalIp, port: undefined },
    }),
  }));
}

function outwardRules({ fips, family }: Program): readonly WantedRule[] {
  return fips
    .filter(({ isOutward }) => isOutward)
    .map(({ id, eip, internalIp }) => ({
      object: id,
      rule: makeRule({
        source: hostMask(internalIp, family),
        target: { kind: "snat", to: eip, isRandom: false },
      }),
    }));
}

/**
 * One rule a backend; each takes an equal share of what the ones before it left. Random and not `nth`, whose counter
 * would count packets to the EIP's other ports too, since the port stands after it.
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

function poolRules(pool: SnatPool, family: Family): readonly WantedRule[] {
  const buckets = bucketsOf(pool, family);
  return buckets.map(({ id, eip, mapping }, bucket) => {
    const rule = makeRule({
      source:
        buckets.length === 1 ? networkMask(pool.cidr) : bucketMask(pool.cidr, bucket, buckets.length, family),
      outInterface: pool.interface,
      target: { kind: "snat", to: eip, isRandom: mapping === "random" },
    });
    return { object: id, rule, pool };
  });
}

/** In a network of few addresses a bucket is one client, whom a nested /32 may send to the same EIP: one rule says both. */
function withoutRepeats(rules: readonly WantedRule[]): readonly WantedRule[] {
  const seen = new Set<string>();
  return rules.filter(({ rule }) => {
    const isNew = !seen.has(rule.text);
    seen.add(rule.text);
    return isNew;
  });
}

function hairpinRules(program: Program): readonly WantedRule[] {
  const { vpcInterface, family } = program;
  return ruledEips(program).map(({ id, address }) => ({
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
