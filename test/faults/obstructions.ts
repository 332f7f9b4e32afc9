/**
 * Faults that come from outside of the agent, as commands that a person would type, and what the agent has to report.
 */
import type { DataplaneName } from "../support/gateway.ts";
import type { HostName } from "../support/lab.ts";

/** The flows that each row is checked with: in and out through the FIP of pod1, the SNAT of pod2, the DNAT to pod2. */
export const flowNames = ["fip in", "fip out", "snat", "dnat"] as const;
export type FlowName = (typeof flowNames)[number];

/** The namespace of a command. `wire` has the bridges. */
type Place = HostName | "wire";
/** A shell line, run in the gateway unless another place is given. */
export type Command = string | { readonly at: Place; readonly line: string };

/** A permanent ARP entry: an ARP request by the gateway would show its MAC to the outside host. */
export const knowOutside =
  "mac=$(ip neigh show 203.0.113.1 dev net1 | grep -o '[0-9a-f:]\\{17\\}'); ip neigh replace 203.0.113.1 dev net1 lladdr $mac nud permanent";
export const forgetOutside = "ip neigh del 203.0.113.1 dev net1";

/** Frames that the outside host does not receive. */
function deaf(command: string): Command {
  return { at: "outside", line: `nft '${command}'` };
}

export interface Obstruction {
  readonly what: string;
  readonly commands: readonly Command[];
  readonly undo: readonly Command[];
  /** False if no kernel event reports the fault: then the test requests a pass. */
  readonly hasEvent: boolean;
  /** Flows that do not work. Absent: the agent repairs the fault, or it stops nothing. */
  readonly dead?: readonly FlowName[];
  readonly notReady?: readonly string[];
  /** In alphabetical order. */
  readonly degraded?: readonly string[];
  /** What conditions or `degraded` must contain. */
  readonly cause?: RegExp;
}

const fip = "fips/pod1";
const snat = "snats/all";
const dnat = "dnats/web";
const users = [fip, snat, dnat];
const eips = ["eips/eip-10", "eips/eip-11"];
const everything = [...eips, ...users];

export function obstructionsOf(dataplane: DataplaneName): readonly Obstruction[] {
  return [...routes, ...interfaces, ...sysctls, ...repaired(dataplane)];
}

const routes: readonly Obstruction[] = [
  {
    what: "a blackhole for a FIP's pod",
    commands: ["ip route add blackhole 10.0.1.5/32"],
    undo: ["ip route del blackhole 10.0.1.5/32"],
    hasEvent: true,
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: ["RouteConflict"],
    cause: /fips\/pod1 NoRoute: 10\.0\.1\.5 is not reached through eth0: the kernel uses the route blackhole/,
  },
  {
    what: "a DNAT's backend routed to the outside",
    commands: ["ip route add 10.0.1.6/32 dev net1"],
    undo: ["ip route del 10.0.1.6/32 dev net1"],
    hasEvent: true,
    dead: ["snat", "dnat"],
    notReady: [dnat],
    degraded: ["RouteConflict"],
    cause: /dnats\/web NoRoute: 10\.0\.1\.6 is not reached through eth0: .* dev net1/,
  },
  {
    what: "the VPC's subnet without its route",
    commands: ["ip route del 10.0.0.0/8", "ip route del 10.0.1.0/24 dev eth0"],
    undo: [
      "ip route add 10.0.1.0/24 dev eth0 proto kernel src 10.0.1.254",
      "ip route add 10.0.0.0/8 via 10.0.1.1 dev eth0",
    ],
    hasEvent: true,
    dead: [...flowNames],
    notReady: users,
    cause: /NoRoute: 10\.0\.1\.5 is not reached through eth0: the kernel uses the route default/,
  },
  {
    what: "a rule that prohibits what a pod sends",
    commands: ["ip rule add from 10.0.1.5 prohibit priority 100"],
    undo: ["ip rule del priority 100"],
    hasEvent: true,
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: ["RouteConflict"],
    cause: /10\.0\.1\.5 does not leave by net1: .* priority 100 from 10\.0\.1\.5\/32 prohibit/,
  },
  {
    what: "a rule for the VPC's mark",
    commands: ["ip rule add fwmark 0x1/0x1 blackhole priority 100"],
    undo: ["ip rule del priority 100"],
    hasEvent: true,
    dead: [...flowNames],
    degraded: ["RouteConflict"],
    cause: /ip rule: priority 100 from all fwmark 0x1\/0x1 blackhole/,
  },
  {
    what: "a rule that sends outside's packets to an empty table",
    commands: ["ip route add blackhole default table 100", "ip rule add iif net1 lookup 100 priority 100"],
    undo: ["ip rule del priority 100", "ip route flush table 100"],
    hasEvent: true,
    dead: [...flowNames],
    notReady: users,
    cause: /by the rule priority 100 from all iif net1 lookup 100/,
  },
  {
    what: "the next hop routed into the VPC",
    commands: ["ip route add 203.0.113.1/32 dev eth0"],
    undo: ["ip route del 203.0.113.1/32 dev eth0"],
    hasEvent: true,
    dead: [...flowNames],
    degraded: ["RouteConflict"],
    cause: /ip route: 203\.0\.113\.1\/32 dev eth0/,
  },
  {
    what: "a next hop that does not answer",
    commands: [
      { at: "outside", line: "sysctl -qw net.ipv4.conf.eth0.arp_ignore=8" },
      "ip neigh flush dev net1",
    ],
    undo: [{ at: "outside", line: "sysctl -qw net.ipv4.conf.eth0.arp_ignore=0" }],
    hasEvent: true,
    dead: [...flowNames],
    degraded: ["NextHopUnreachable"],
    cause:
      /203\.0\.113\.1 does not answer ARP on net1: default via 203\.0\.113\.1 dev net1 .* cannot be used/,
  },
  {
    what: "half of the Internet routed into the VPC",
    commands: ["ip route add 0.0.0.0/1 dev eth0"],
    undo: ["ip route del 0.0.0.0/1 dev eth0"],
    hasEvent: true,
    degraded: ["RouteConflict"],
    cause: /ip route: 0\.0\.0\.0\/1 dev eth0/,
  },
];

const vpcRoute = "ip route add 10.0.0.0/8 via 10.0.1.1 dev eth0";
const interfaces: readonly Obstruction[] = [
  {
    what: "the VPC's interface is down",
    commands: ["ip link set eth0 down"],
    undo: ["ip link set eth0 up", vpcRoute],
    hasEvent: true,
    dead: [...flowNames],
    notReady: users,
    degraded: ["InterfaceDown"],
    cause: /fips\/pod1 InterfaceDown: eth0 is down/,
  },
  {
    what: "the VPC's interface under another name",
    commands: ["ip link set eth0 down; ip link set eth0 name eth9; ip link set eth9 up"],
    undo: ["ip link set eth9 down; ip link set eth9 name eth0; ip link set eth0 up", vpcRoute],
    hasEvent: true,
    notReady: users,
    degraded: ["InterfaceMissing"],
    cause: /InterfaceNotFound: interface eth0 does not exist/,
  },
  {
    what: "the VPC's interface without carrier",
    commands: [{ at: "wire", line: "ip link set gw-vpc down" }],
    undo: [{ at: "wire", line: "ip link set gw-vpc up" }],
    hasEvent: true,
    dead: [...flowNames],
    notReady: users,
    degraded: ["InterfaceDown"],
    cause: /InterfaceDown: eth0 has no carrier/,
  },
  {
    what: "the VPC's interface in a bridge",
    commands: [
      "ip link add br9 type bridge; ip link set br9 up; ip link set eth0 master br9; ip neigh flush dev eth0",
    ],
    undo: ["ip link set eth0 nomaster; ip link del br9"],
    hasEvent: true,
    dead: [...flowNames],
    notReady: users,
    degraded: ["InterfaceDown"],
    cause: /InterfaceDown: eth0 is a port of br9/,
  },
  {
    what: "the VPC's interface made anew, without its address",
    commands: [
      { at: "wire", line: "ip link del gw-vpc" },
      {
        at: "wire",
        line: "ip link add gw-vpc type veth peer name eth0 netns $GW; ip link set gw-vpc master br-vpc up",
      },
      "ip link set eth0 address 02:00:0a:00:01:fe up",
    ],
    undo: ["ip address add 10.0.1.254/24 dev eth0", vpcRoute],
    hasEvent: true,
    dead: [...flowNames],
    notReady: users,
    cause: /NoRoute: 10\.0\.1\.5 is not reached through eth0/,
  },
  {
    what: "the outside interface is down",
    commands: ["ip link set net1 down"],
    undo: ["ip link set net1 up"],
    hasEvent: true,
    dead: [...flowNames],
    notReady: everything,
    degraded: ["InterfaceDown"],
    cause: /eips\/eip-10 InterfaceDown: net1 is down/,
  },
  {
    what: "the outside interface under another name",
    commands: ["ip link set net1 down; ip link set net1 name net9; ip link set net9 up"],
    undo: ["ip link set net9 down; ip link set net9 name net1; ip link set net1 up"],
    hasEvent: true,
    dead: [...flowNames],
    notReady: everything,
    degraded: ["InterfaceMissing"],
    cause: /InterfaceNotFound: interface net1 does not exist/,
  },
  {
    what: "the outside interface without carrier",
    commands: [{ at: "wire", line: "ip link set gw-out down" }],
    undo: [{ at: "wire", line: "ip link set gw-out up" }],
    hasEvent: true,
    dead: [...flowNames],
    notReady: everything,
    degraded: ["InterfaceDown"],
    cause: /InterfaceDown: net1 has no carrier/,
  },
  {
    what: "ARP is off outside",
    commands: ["ip link set net1 arp off"],
    undo: ["ip link set net1 arp on"],
    hasEvent: true,
    dead: [...flowNames],
    degraded: ["ArpIgnored"],
    cause: /ArpIgnored: ARP is off on net1/,
  },
];

const sysctls: readonly Obstruction[] = [
  {
    what: "forwarding switched off",
    commands: ["sysctl -qw net.ipv4.ip_forward=0"],
    undo: [],
    hasEvent: true,
  },
  {
    what: "forwarding switched off on one interface",
    commands: ["sysctl -qw net.ipv4.conf.net1.forwarding=0"],
    undo: [],
    hasEvent: true,
  },
  {
    what: "secondaries are not promoted",
    commands: ["sysctl -qw net.ipv4.conf.net1.promote_secondaries=0"],
    undo: [],
    hasEvent: false,
  },
  {
    what: "a strict reverse path filter on both sides",
    commands: ["sysctl -qw net.ipv4.conf.all.rp_filter=1"],
    undo: ["sysctl -qw net.ipv4.conf.all.rp_filter=0"],
    hasEvent: true,
  },
  {
    what: "no answer to ARP for any address",
    commands: [
      knowOutside,
      "sysctl -qw net.ipv4.conf.net1.arp_ignore=8",
      ...["add table arp deaf", "add chain arp deaf in { type filter hook input priority 0; }"].map(deaf),
      // The agent may still announce EIPs of an earlier row. These announcements would answer the outside host's ARP
      // requests.
      deaf("add rule arp deaf in arp saddr ip 203.0.113.10-203.0.113.11 drop"),
      { at: "outside", line: "ip neigh flush dev eth0" },
    ],
    undo: [
      "sysctl -qw net.ipv4.conf.net1.arp_ignore=0",
      forgetOutside,
      { at: "outside", line: "nft delete table arp deaf" },
    ],
    hasEvent: false,
    dead: [...flowNames],
    degraded: ["ArpIgnored"],
    cause: /ArpIgnored: arp_ignore stops net1 from answering/,
  },
];

function repaired(dataplane: DataplaneName): readonly Obstruction[] {
  return [
    {
      what: "an EIP taken away",
      commands: ["ip address del 203.0.113.10/24 dev net1"],
      undo: [],
      hasEvent: true,
    },
    {
      what: "the default route taken away",
      commands: ["ip route del default"],
      undo: [],
      hasEvent: true,
    },
    {
      what: "another default route",
      commands: ["ip route replace default via 203.0.113.99 dev net1"],
      undo: [],
      hasEvent: true,
    },
    {
      what: "flushed rules",
      commands: [
        dataplane === "nftables"
          ? "nft flush map ip natgw fip_in; nft flush map ip natgw fip_out"
          : `${dataplane} -t nat -F EXCLUSIVE_DNAT; ${dataplane} -t nat -F SHARED_SNAT`,
      ],
      undo: [],
      hasEvent: dataplane !== "iptables-legacy",
    },
  ];
}
