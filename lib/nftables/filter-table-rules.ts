/**
 * The chains and rules of the tables of guard and gates. In nft's words, for a gateway whose EIPs are on one interface:
 *
 *     table ip natgw_guard
 *       chain forward { type filter hook forward priority 0;
 *         iifname "eth0" oifname "net1" ct state invalid jump mapped
 *         oifname "net1" ct direction original ct status dnat jump misrouted
 *       }
 *       chain mapped {
 *         ip saddr @fips counter name guard_invalid_egress drop
 *         ip saddr . meta l4proto . th sport @backends counter name guard_invalid_egress drop
 *         ip saddr & 255.255.255.255 . 255.255.255.255 @clients counter name guard_invalid_egress drop
 *         and so for every shorter netmask
 *       }
 *       chain misrouted {
 *         ip daddr @fips counter name guard_misrouted_ingress drop
 *         ip daddr . meta l4proto . th dport @backends counter name guard_misrouted_ingress drop
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
 *         until the first write the same two for iif != 0 oifname != "eth0": the interfaces may still be others
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
 *       until the first write both without an interface
 *
 *     table ip natgw_set, which is empty
 *
 * The gate comes after NAT, when the translation is decided, and before conntrack confirms the entry: a dropped packet leaves
 * none. For a packet without an entry, loading `ct status` ends the rule, so such packets need a rule of their own. What
 * the gateway sends itself has no `iifname`. `iifname` can be matched in postrouting since Linux 5.7.
 *
 * CIDRs are found by masking and not by a set of intervals: nft 1.0.6 crashes while it monitors a set of intervals, and
 * CIDRs that hold each other need no care. Only what is INVALID ever gets there.
 */
import type { AddressValue } from "../model/family.ts";
import type { InterfaceName } from "../model/names.ts";
import type { BaseChain } from "./definition-messages.ts";
import {
  bitwise,
  compare,
  count,
  ctDirection,
  ctState,
  ctStatus,
  drop,
  type Expression,
  ifName,
  jump,
  loadDirection,
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
import type { ByFilterTable } from "./filter-table-names.ts";

/** The interfaces that the rules use. */
export interface FilterInterfaces {
  readonly vpcInterface: InterfaceName;
  /** The interfaces to the outside. */
  readonly outsides: readonly InterfaceName[];
  /** True until the first write: then these are the interfaces of the settings, and they may still change. Absent: false. */
  readonly isUnnamed?: boolean;
}

/** The chains and rules of a table. Its counters and sets are listed elsewhere. */
export interface FilterTablesContents {
  readonly chains: readonly BaseChain[];
  readonly plainChains?: readonly string[];
  readonly rules: readonly (readonly [chain: string, ...expressions: readonly Expression[]])[];
}

const [r1, r2, r3] = register;
const isInvalid = [loadState(r1), ...testBits(ctState.invalid, "any")];
const dropInvalid = [count("guard_invalid_egress"), drop];
const dropMisrouted = [count("guard_misrouted_ingress"), drop];
const { bits, netmask, zero } = tableFamily;
const masks = Array.from({ length: bits + 1 }, (_, shorter) => netmask(bits - shorter));

/** A request to a FIP or a DNAT. Answers never match. */
const isRedirected = [
  loadDirection(r1),
  compare(r1, "equal", Uint8Array.of(ctDirection.original)),
  loadStatus(r1),
  ...testBits(ctStatus.destinationNat, "any"),
];

/** BFD over one hop (RFC 5881) and over several (RFC 5883). */
export const bfdPorts = [3784, 4784] as const;
const protocolUdp = 17;

const translated = ctStatus.sourceNat | ctStatus.destinationNat;
const isUntranslated = [loadStatus(r1), ...testBits(translated, "none")];
const isWithoutEntry = [loadState(r1), ...testBits(ctState.invalid | ctState.untracked, "any")];

export const filterTablesContents: ByFilterTable<(interfaces: FilterInterfaces) => FilterTablesContents> = {
  guard: ({ vpcInterface, outsides }) => ({
    chains: [
      { name: "forward", type: "filter", hook: "forward", priority: 0 },
      { name: "input", type: "filter", hook: "input", priority: 0 },
      { name: "anchor", type: "nat", hook: "input", priority: 100 },
    ],
    plainChains: ["mapped", "misrouted"],
    rules: [
      ...outsides.map(
        (outside) => ["forward", ...leaving(vpcInterface, outside), ...isInvalid, jump("mapped")] as const,
      ),
      ...outsides.map(
        (outside) => ["forward", ...ifName("oifname", outside), ...isRedirected, jump("misrouted")] as const,
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
      ["misrouted", loadPacket("destination", r1), member("fips"), ...dropMisrouted],
      [
        "misrouted",
        loadPacket("destination", r1),
        loadMeta("l4proto", r2),
        loadPacket("destination port", r3),
        member("backends"),
        ...dropMisrouted,
      ],
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
  gate: ({ vpcInterface, outsides, isUnnamed = false }) => ({
    chains: [{ name: "postrouting", type: "filter", hook: "postrouting", priority: 300 }],
    rules: [
      ...outsides.map((outside) => leaving(vpcInterface, outside)),
      ...(isUnnamed ? [forwardedBeside(vpcInterface)] : []),
    ].flatMap((way) =>
      [isUntranslated, isWithoutEntry].map(
        (what) => ["postrouting", ...way, ...what, count("gate_egress"), drop] as const,
      ),
    ),
  }),
  bfd: ({ vpcInterface, isUnnamed = false }) => ({
    chains: [
      { name: "input", type: "filter", hook: "input", priority: 0 },
      { name: "output", type: "filter", hook: "output", priority: 0 },
    ],
    rules: bfdPorts.flatMap((port) => [
      [
        "input",
        ...(isUnnamed ? [] : ifName("iifname", vpcInterface)),
        ...isUdpTo(port),
        count("gate_bfd_ingress"),
        drop,
      ] as const,
      [
        "output",
        ...(isUnnamed ? [] : ifName("oifname", vpcInterface)),
        ...isUdpTo(port),
        count("gate_bfd_egress"),
        drop,
      ] as const,
    ]),
  }),
  set: () => ({ chains: [], rules: [] }),
};

function leaving(vpcInterface: InterfaceName, outside: InterfaceName): readonly Expression[] {
  return [...ifName("iifname", vpcInterface), ...ifName("oifname", outside)];
}

/** What is forwarded, and not to this interface. What the gateway itself sends came in by none. */
function forwardedBeside(vpcInterface: InterfaceName): readonly Expression[] {
  return [
    loadMeta("iif", r1),
    compare(r1, "not equal", new Uint8Array(4)),
    ...ifName("oifname", vpcInterface, true),
  ];
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
