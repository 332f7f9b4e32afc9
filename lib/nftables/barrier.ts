/**
 * The tables of guard and gates. In nft's words, for a gateway whose EIPs are on one interface:
 *
 *     table ip natgw_guard
 *       chain forward { type filter hook forward priority 0;
 *         iifname "eth0" oifname "net1" ct state invalid jump mapped
 *       }
 *       chain mapped {
 *         ip saddr @fips counter name guard_invalid_egress drop
 *         ip saddr . meta l4proto . th sport @backends counter name guard_invalid_egress drop
 *         ip saddr & 255.255.255.255 . 255.255.255.255 @clients counter name guard_invalid_egress drop
 *         and so for every shorter netmask
 *       }
 *       chain input { type filter hook input priority 0;
 *         ct state invalid ip daddr @eips counter name guard_invalid_ingress drop
 *       }
 *       chain anchor { type nat hook input priority 100; }
 *
 *     table ip natgw_gate
 *       chain postrouting { type filter hook postrouting priority 300;
 *         iifname "eth0" oifname "net1" ct status & (snat | dnat) == 0 counter name gate_egress drop
 *         iifname "eth0" oifname "net1" ct state invalid,untracked counter name gate_egress drop
 *       }
 *
 *     table ip natgw_bfd
 *       chain input { type filter hook input priority 0;
 *         iifname "eth0" meta l4proto udp th dport 3784 counter name gate_bfd_ingress drop
 *         and so for 4784
 *       }
 *       chain output { type filter hook output priority 0;
 *         oifname "eth0" meta l4proto udp th dport 3784 counter name gate_bfd_egress drop
 *         and so for 4784
 *       }
 *
 * The gate stands after NAT, which knows by then whether it translates the flow, and before conntrack makes an entry of it: what
 * is dropped leaves none. A packet without an entry has no `ct status`, which ends a rule, so it needs a rule of its own. What
 * the gateway sends itself has no `iifname`. The kernel tells `iifname` in postrouting since 5.7.
 *
 * CIDRs are found by masking and not by a set of intervals: nft 1.0.6 crashes while it monitors a set of intervals, and
 * CIDRs that hold each other need no care. Only what is INVALID ever gets there.
 */
import { isSameMap } from "../memoize.ts";
import type { AddressValue } from "../model/family.ts";
import type { InterfaceName } from "../model/names.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { type BarrierName, type ByBarrier, barrierNames, barrierTables } from "./barrier-tables.ts";
import { encodeAdd, encodeDelete } from "./encode-elements.ts";
import {
  bitwise,
  compare,
  count,
  ctState,
  ctStatus,
  drop,
  type Expression,
  ifName,
  jump,
  loadMeta,
  loadPacket,
  loadState,
  loadStatus,
  member,
  networkOrder,
  register,
  testBits,
} from "./expressions.ts";
import { tableFamily } from "./family.ts";
import { type FrameLines, linesOf } from "./frame-lines.ts";
import {
  type BaseChain,
  type Counted,
  deleteTable,
  newChain,
  newCounter,
  newGuardSet,
  newPlainChain,
  newRule,
  newTable,
} from "./frame-messages.ts";
import { type ByGuardSet, type GuardElements, type GuardSet, guardSetNames } from "./sets.ts";

/** What the rules of all depend on. */
export interface BarrierFrame {
  readonly vpcInterface: InterfaceName;
  /** The interfaces to the outside. */
  readonly outsides: readonly InterfaceName[];
}

/**
 * The counters of drops, by the table that holds them: the reason and the direction. Of guard and gate: out of the VPC, or
 * towards EIPs. Of BFD: sent by the gateway, or to it.
 */
export const dropCounters = {
  guard: ["guard_invalid_egress", "guard_invalid_ingress"],
  gate: ["gate_egress"],
  bfd: ["gate_bfd_egress", "gate_bfd_ingress"],
} as const satisfies Record<BarrierName, readonly string[]>;
export type DropCounter = (typeof dropCounters)[BarrierName][number];

/** What each counter has counted; one that is not there is absent. */
export type DropCounts = ReadonlyMap<DropCounter, Counted>;

/** What the kernel holds of them. */
export interface ObservedBarrier {
  /** The tables; `undefined` where there is none. */
  readonly frames: ByBarrier<FrameLines>;
  /** Of the guard's sets; of one that is not as ours are, nothing. */
  readonly elements: GuardElements;
}

export function isSameBarrier(one: ObservedBarrier, other: ObservedBarrier): boolean {
  return (
    one === other ||
    (barrierNames.every((name) => one.frames[name]?.join("\n") === other.frames[name]?.join("\n")) &&
      guardSetNames.every((set) => isSameMap(one.elements[set], other.elements[set])))
  );
}

/** One transaction. */
export interface BarrierTransaction {
  readonly frames: Partial<ByBarrier<BarrierChange>>;
  /** Of the guard's sets, which are empty where its table is made. */
  readonly remove: ByGuardSet<readonly string[]>;
  readonly add: GuardElements;
}

/** A table that is made anew, after taking away what is there of it; without `make` it stays away. */
export interface BarrierChange {
  readonly make: BarrierFrame | undefined;
  readonly isReplaced: boolean;
}

/** @param counts where the counters of tables that are made begin */
export function encodeBarrier(
  { frames, remove, add }: BarrierTransaction,
  counts: DropCounts = new Map(),
): readonly NetlinkMessage[] {
  const tables = barrierNames.flatMap((name) => {
    const { make, isReplaced = false } = frames[name] ?? {};
    return [
      ...(isReplaced ? [deleteTable(barrierTables[name])] : []),
      ...(make === undefined ? [] : encodeBarrierFrame(name, make, counts)),
    ];
  });
  return [
    ...tables,
    ...guardSetNames.flatMap((set) => encodeDelete(set, [...remove[set]])),
    ...guardSetNames.flatMap((set) => encodeAdd(set, add[set])),
  ];
}

/** The lines that a dump of the table gives. */
export function barrierLines(name: BarrierName, frame: BarrierFrame): readonly string[] {
  return linesOf(encodeBarrierFrame(name, frame, new Map()), barrierTables[name]);
}

/** Makes the whole table, without elements, where there is none. */
function encodeBarrierFrame(
  name: BarrierName,
  frame: BarrierFrame,
  counts: DropCounts,
): readonly NetlinkMessage[] {
  const table = barrierTables[name];
  const { chains, plainChains = [], rules } = contents[name](frame);
  return [
    newTable(table),
    ...dropCounters[name].map((counter) => newCounter(counter, table, counts.get(counter))),
    ...(name === "guard" ? guardSetNames.map(newGuardSet) : []),
    ...chains.map((chain) => newChain(chain, table)),
    ...plainChains.map((chain) => newPlainChain(chain, table)),
    ...rules.map(([chain, ...expressions]) => newRule(chain, expressions, table)),
  ];
}

interface Contents {
  readonly chains: readonly BaseChain[];
  readonly plainChains?: readonly string[];
  readonly rules: readonly (readonly [chain: string, ...expressions: readonly Expression[]])[];
}

const [r1, r2, r3] = register;
const isInvalid = [loadState(r1), ...testBits(ctState.invalid, "any")];
const dropInvalid = [count("guard_invalid_egress"), drop];
const { bits, netmask, zero } = tableFamily;
const masks = Array.from({ length: bits + 1 }, (_, shorter) => netmask(bits - shorter));

/** BFD over one hop (RFC 5881) and over several (RFC 5883). */
export const bfdPorts = [3784, 4784] as const;
const protocolUdp = 17;

const translated = ctStatus.sourceNat | ctStatus.destinationNat;
const isUntranslated = [loadStatus(r1), ...testBits(translated, "none")];
const isWithoutEntry = [loadState(r1), ...testBits(ctState.invalid | ctState.untracked, "any")];

const contents: ByBarrier<(frame: BarrierFrame) => Contents> = {
  guard: ({ vpcInterface, outsides }) => ({
    chains: [
      { name: "forward", type: "filter", hook: "forward", priority: 0 },
      { name: "input", type: "filter", hook: "input", priority: 0 },
      { name: "anchor", type: "nat", hook: "input", priority: 100 },
    ],
    plainChains: ["mapped"],
    rules: [
      ...outsides.map(
        (outside) => ["forward", ...leaving(vpcInterface, outside), ...isInvalid, jump("mapped")] as const,
      ),
      ["mapped", loadPacket("source", r1), member("fips"), ...dropInvalid],
      [
        "mapped",
        loadPacket("source", r1),
        loadMeta("l4proto", r2),
        loadPacket("source port", r3),
        member("backends"),
        ...dropInvalid,
      ],
      ...masks.map((mask) => ["mapped", ...networkOf(mask), member("clients"), ...dropInvalid] as const),
      [
        "input",
        ...isInvalid,
        loadPacket("destination", r1),
        member("eips"),
        count("guard_invalid_ingress"),
        drop,
      ],
    ],
  }),
  gate: ({ vpcInterface, outsides }) => ({
    chains: [{ name: "postrouting", type: "filter", hook: "postrouting", priority: 300 }],
    rules: outsides.flatMap((outside) =>
      [isUntranslated, isWithoutEntry].map(
        (what) =>
          ["postrouting", ...leaving(vpcInterface, outside), ...what, count("gate_egress"), drop] as const,
      ),
    ),
  }),
  bfd: ({ vpcInterface }) => ({
    chains: [
      { name: "input", type: "filter", hook: "input", priority: 0 },
      { name: "output", type: "filter", hook: "output", priority: 0 },
    ],
    rules: bfdPorts.flatMap((port) => [
      [
        "input",
        ...ifName("iifname", vpcInterface),
        ...isUdpTo(port),
        count("gate_bfd_ingress"),
        drop,
      ] as const,
      [
        "output",
        ...ifName("oifname", vpcInterface),
        ...isUdpTo(port),
        count("gate_bfd_egress"),
        drop,
      ] as const,
    ]),
  }),
};

function leaving(vpcInterface: InterfaceName, outside: InterfaceName): readonly Expression[] {
  return [...ifName("iifname", vpcInterface), ...ifName("oifname", outside)];
}

function isUdpTo(port: number): readonly Expression[] {
  return [
    loadMeta("l4proto", r1),
    compare(r1, "equal", Uint8Array.of(protocolUdp)),
    loadPacket("destination port", r1),
    compare(r1, "equal", Uint8Array.of(port >> 8, port & 0xff)),
  ];
}

/** The source's network, and behind it its netmask. */
function networkOf(mask: AddressValue): readonly Expression[] {
  return [
    loadPacket("source", r1),
    bitwise(r1, networkOrder(mask), networkOrder(zero)),
    loadPacket("source", r2),
    bitwise(r2, networkOrder(zero), networkOrder(mask)),
  ];
}

/** The keys that transactions touch, by set. */
export function touchedElements(
  transactions: readonly BarrierTransaction[],
): ReadonlyMap<GuardSet, ReadonlySet<string>> {
  return new Map(
    guardSetNames.map((set) => [
      set,
      new Set(transactions.flatMap(({ add, remove }) => [...remove[set], ...add[set].keys()])),
    ]),
  );
}

/** True where a table is made or taken away. */
export function touchesFrames({ frames }: BarrierTransaction): boolean {
  return Object.keys(frames).length > 0;
}
