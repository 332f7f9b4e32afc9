/** Faults that come from outside of the agent, and what the agent has to report. */
import type { DataplaneName } from "../support/gateway.ts";
import {
  deafToAnnouncements,
  everything,
  flowNames,
  forgetPods,
  hearAgain,
  knowOutside,
  knowPods,
  type Obstruction,
  podsForget,
  users,
} from "./obstruction.ts";
import { routes } from "./route-obstructions.ts";

export function obstructionsOf(dataplane: DataplaneName): readonly Obstruction[] {
  return [...routes, ...interfaces, ...sysctls, ...repaired(dataplane)];
}

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
  ...["eth0", "net1"].map((name) => ({
    what: `a macvlan that takes all of ${name}`,
    commands: [
      `ip link add mv9 link ${name} type macvlan mode passthru`,
      `ip link set mv9 up; ip neigh flush dev ${name}`,
    ],
    undo: ["ip link del mv9"],
    hasEvent: true,
    dead: [...flowNames],
    notReady: name === "eth0" ? users : everything,
    degraded: ["InterfaceDown"],
    cause: new RegExp(`InterfaceDown: ${name} gives its packets to mv9`),
  })),
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
    degraded: ["NoOwnAddress"],
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
    what: "packets of connections do not fit",
    commands: ["ip link set net1 mtu 68"],
    undo: ["ip link set net1 mtu 1500"],
    hasEvent: true,
    dead: ["fip out", "snat"],
    degraded: ["MtuTooSmall"],
    cause: /MtuTooSmall: net1 has MTU 68/,
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
    what: "conntrack forgets new connections at once",
    commands: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_sent=0"],
    undo: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_sent=120"],
    hasEvent: false,
    dead: [...flowNames],
    degraded: ["FlowTimeoutZero"],
    cause: /FlowTimeoutZero: net\.netfilter\.nf_conntrack_tcp_timeout_syn_sent=0 ends flows/,
  },
  {
    what: "conntrack forgets half-open connections at once",
    commands: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_recv=0"],
    undo: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_syn_recv=60"],
    hasEvent: false,
    dead: ["snat"],
    degraded: ["FlowTimeoutZero"],
  },
  {
    what: "conntrack forgets open connections at once",
    commands: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=0"],
    undo: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=432000"],
    hasEvent: false,
    dead: ["snat", "dnat"],
    degraded: ["FlowTimeoutZero"],
  },
  {
    what: "conntrack forgets answered connections soon",
    commands: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=5"],
    undo: ["sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=432000"],
    hasEvent: false,
  },
  {
    what: "no answer to ARP in the VPC",
    commands: [...knowPods, "sysctl -qw net.ipv4.conf.eth0.arp_ignore=8", ...podsForget],
    undo: ["sysctl -qw net.ipv4.conf.eth0.arp_ignore=0", ...forgetPods],
    hasEvent: false,
    dead: [...flowNames],
    degraded: ["ArpIgnored"],
    cause: /ArpIgnored: arp_ignore=8 stops eth0 from answering ARP/,
  },
  {
    what: "no answer to ARP for any address",
    commands: [
      knowOutside,
      "sysctl -qw net.ipv4.conf.net1.arp_ignore=8",
      ...deafToAnnouncements,
      { at: "outside", line: "ip neigh flush dev eth0" },
    ],
    undo: ["sysctl -qw net.ipv4.conf.net1.arp_ignore=0", ...hearAgain],
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
      what: "the local route of an EIP taken away",
      commands: ["ip route del local 203.0.113.10 dev net1 table local"],
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
