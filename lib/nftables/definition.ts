/**
 * The definition of the table, which is everything in it but the elements: its maps, three chains and eight rules or a few
 * more. In nft syntax, for a gateway with EIPs on one interface:
 *
 *     chain vpc_mark { type filter hook prerouting priority mangle;
 *       iifname "eth0" meta mark set meta mark | 0x1
 *     }
 *     chain pre { type nat hook prerouting priority dstnat;
 *       dnat ip to ip daddr map @fip_in
 *       dnat ip to ip daddr . meta l4proto . th dport map @dnat_1
 *       dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 offset 0x20000 map @dnat_n
 *       dnat ip to ip daddr . meta l4proto . th dport . jhash ip saddr mod 2 seed 0x1 offset 0x80020000 map @dnat_n
 *     }
 *     chain post { type nat hook postrouting priority srcnat;
 *       snat ip to ip saddr map @fip_out
 *       oifname "net1" snat ip to ip saddr . (ip saddr & 0.0.0.15) map @snat_r fully-random
 *       oifname "net1" snat ip to ip saddr . (ip saddr & 0.0.0.15) map @snat_p
 *       oifname "eth0" meta mark & 0x1 == 0x1 ct status dnat snat ip to ct original ip daddr map @hairpin fully-random
 *     }
 *
 * A further interface, or a pool of more than 16 EIPs, brings one more pair of SNAT rules, a {@link Lookup}. All pairs
 * share the two maps: each marks its buckets with its own number in the high half, `(ip saddr & 0.0.0.31) ^ 0.1.0.0`.
 *
 * For each backend count n in use there is one rule with `numgen random mod n`. All of them share `dnat_n`: n is the high half
 * of the key, the random number the low half. So every key is exact: in maps of ranges the kernel takes time for each
 * element that grows with the size of the map. For DNATs with session affinity there is a rule of the same kind for each count,
 * with `jhash ip saddr mod n` in place of the random number, and the highest bit of its keys set.
 */
import type { InterfaceName } from "../model/names.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { newChain, newMap, newRule, newTable } from "./definition-messages.ts";
import {
  bitwise,
  compare,
  ctStatus,
  drawNumber,
  type Expression,
  hashNumber,
  hostOrder,
  ifName,
  loadMeta,
  loadOriginalDestination,
  loadPacket,
  loadStatus,
  lookup,
  nat,
  networkOrder,
  register,
  setMark,
} from "./expressions.ts";
import { tableFamily } from "./family.ts";
import { type MapName, mapNames } from "./maps.ts";

/** What the rules depend on. */
export interface Definition {
  readonly vpcInterface: InterfaceName;
  /** The first lookup always exists. The number of a lookup is its index. */
  readonly lookups: readonly Lookup[];
  /** The numbers of backends of DNATs with a list: each number once, in ascending order. */
  readonly backendCounts: readonly number[];
  /** The same for DNATs with session affinity, which are not among the others. */
  readonly stickyCounts: readonly number[];
}

/** How packets that leave by one interface find a pool member: by the low bits of the client's address. */
export interface Lookup {
  readonly interface: InterfaceName;
  /** A power of two, from 16 to 65,536. */
  readonly buckets: number;
}

/** Creates the whole table without elements. Expects that it does not exist. */
export function encodeDefinition(definition: Definition): readonly NetlinkMessage[] {
  return [
    newTable(),
    ...mapNames.map(newMap),
    ...chains.map((chain) => newChain(chain)),
    ...fixedRules(definition).map(({ chain, expressions }) => newRule(chain, expressions)),
  ];
}

const chains = [
  { name: "vpc_mark", type: "filter", hook: "prerouting", priority: -150 },
  { name: "pre", type: "nat", hook: "prerouting", priority: -100 },
  { name: "post", type: "nat", hook: "postrouting", priority: 100 },
] as const;

type ChainName = (typeof chains)[number]["name"];

interface FixedRule {
  readonly chain: ChainName;
  readonly expressions: readonly Expression[];
}

const [r1, r2, r3, r4, r5] = register;

function fixedRules({
  vpcInterface,
  lookups,
  backendCounts,
  stickyCounts,
}: Definition): readonly FixedRule[] {
  const rule = (chain: ChainName, ...expressions: readonly Expression[]): FixedRule => ({
    chain,
    expressions,
  });
  const service = [
    loadPacket("destination", r1),
    loadMeta("l4proto", r2),
    loadPacket("destination port", r3),
  ];
  return [
    rule(
      "vpc_mark",
      ...ifName("iifname", vpcInterface),
      loadMeta("mark", r1),
      bitwise(r1, hostOrder(~1), hostOrder(1)),
      setMark(r1),
    ),
    rule("pre", loadPacket("destination", r1), lookup("fip_in"), nat("dnat")),
    rule("pre", ...service, lookup("dnat_1"), nat("dnat", { withPort: true })),
    ...backendCounts.map((count) =>
      rule(
        "pre",
        ...service,
        drawNumber(r4, count, drawOf(count, 0)),
        lookup("dnat_n"),
        nat("dnat", { withPort: true }),
      ),
    ),
    ...stickyCounts.map((count) =>
      rule(
        "pre",
        ...service,
        loadPacket("source", r5),
        hashNumber(r5, r4, count, drawOf(count, 0, true)),
        lookup("dnat_n"),
        nat("dnat", { withPort: true }),
      ),
    ),
    rule("post", loadPacket("source", r1), lookup("fip_out"), nat("snat")),
    ...lookups.flatMap((pools, number) => [
      rule("post", ...poolMember(pools, number, "snat_r"), nat("snat", { isFullyRandom: true })),
      rule("post", ...poolMember(pools, number, "snat_p"), nat("snat")),
    ]),
    rule(
      "post",
      ...ifName("oifname", vpcInterface),
      loadMeta("mark", r1),
      bitwise(r1, hostOrder(1), hostOrder(0)),
      compare(r1, "equal", hostOrder(1)),
      loadStatus(r1),
      bitwise(r1, hostOrder(ctStatus.destinationNat), hostOrder(0)),
      compare(r1, "not equal", hostOrder(0)),
      loadOriginalDestination(r1),
      lookup("hairpin"),
      nat("snat", { isFullyRandom: true }),
    ),
  ];
}

function poolMember(pools: Lookup, number: number, map: MapName): readonly Expression[] {
  return [
    ...ifName("oifname", pools.interface),
    loadPacket("source", r1),
    loadPacket("source", r2),
    bitwise(r2, bucketValue(pools.buckets - 1), bucketValue(bucketBase(number))),
    lookup(map),
  ];
}

/** The value that selects one backend of `count`: a random one, or with session affinity the hash of the client's address. */
export function drawOf(count: number, backend: number, isSticky = false): number {
  return (isSticky ? 0x8000_0000 : 0) + count * 0x1_0000 + backend;
}

/** The number of a bucket as addresses stand in registers. */
function bucketValue(bucket: number): Uint8Array {
  return networkOrder(tableFamily.plus(tableFamily.zero, bucket));
}

/** The start of the buckets of the lookup with this number. */
export function bucketBase(number: number): number {
  return number * 0x1_0000;
}
