/** Changes that other programs make in netfilter, as commands, and what the agent has to report about each. */
import { type DataplaneName, dataplanes, type Variant } from "../support/gateway.ts";
import {
  deafToAnnouncements,
  flowNames,
  forgetOutside,
  hearAgain,
  knowOutside,
  type Obstruction,
} from "./obstruction.ts";

/**
 * Rows that do not depend on the dataplane are shared out: each is played over one dataplane, and the first one over
 * all.
 */
export function foreignRulesOf(dataplane: DataplaneName): readonly Obstruction[] {
  const number = dataplanes.indexOf(dataplane);
  const share = <R extends Row>(rows: readonly R[]) =>
    rows.filter((_, at) => at === 0 || at % dataplanes.length === number);
  const hasNftEvents = dataplane !== "iptables-legacy";
  const seen = (rows: readonly Row[], hasEvent: boolean) => rows.map((row) => ({ ...row, hasEvent }));
  const byVariant = (variant: Variant) =>
    seen(
      dataplane === variant ? byIptables(variant) : share(byIptables(variant)),
      hasNftEvents && variant === "iptables-nft",
    );
  return [
    ...ineffective[dataplane],
    ...leftoversBeside(dataplane),
    ...seen(share(byNft), hasNftEvents),
    ...share(onDevices),
    ...share(ipsec),
    ...byVariant("iptables-nft"),
    ...byVariant("iptables-legacy"),
    ...(dataplane === "nftables" ? [] : seen(aheadOfOurs(dataplane), hasNftEvents)),
  ];
}

const fip = "fips/pod1";
const snat = "snats/all";
const dnat = "dnats/web";
const users = [fip, snat, dnat];
const named = ["ForeignRule"];

type Row = Omit<Obstruction, "hasEvent">;

/** No packet of any object passes. */
const allStopped = { dead: [...flowNames], notReady: users, degraded: named };

/** Makes a table with one chain and its rules. */
function nftChain(hook: string, ...rules: readonly string[]): readonly string[] {
  return [
    "nft add table ip other",
    `nft add chain ip other c '{ ${hook} }'`,
    ...rules.map((rule) => `nft add rule ip other c '${rule}'`),
  ];
}
const noOther = ["nft delete table ip other"];

const byNft: readonly Row[] = [
  {
    what: "a chain that drops all that is forwarded",
    commands: nftChain("type filter hook forward priority 5; policy drop;"),
    undo: noOther,
    ...allStopped,
    cause: /fips\/pod1 ForeignRule: nft ip other -P c DROP drops its packets/,
  },
  {
    what: "a chain that lets only one port through",
    commands: nftChain(
      "type filter hook forward priority 5; policy drop;",
      "ct state established,related accept",
      "ip daddr 10.0.1.6 tcp dport 80 accept",
      "iifname eth0 accept",
    ),
    undo: noOther,
    dead: ["fip in"],
    notReady: [fip],
    degraded: named,
    cause: /nft ip other -P c DROP drops packets of 1 object/,
  },
  {
    what: "a firewall that lets through what pods begin and what is translated",
    commands: nftChain(
      "type filter hook forward priority 5; policy drop;",
      "ct state established,related accept",
      "iifname eth0 accept",
      "ct status dnat accept",
    ),
    undo: noOther,
  },
  {
    what: "a chain that lets only a port through that nobody uses",
    commands: nftChain(
      "type filter hook forward priority 5; policy drop;",
      "ct state established accept",
      "tcp dport 22 accept",
    ),
    undo: noOther,
    dead: [...flowNames],
    notReady: [dnat],
    degraded: named,
    cause: /nft ip other -P c DROP may drop packets/,
  },
  {
    what: "no new connection",
    commands: nftChain("type filter hook forward priority 5;", "tcp flags syn drop"),
    undo: noOther,
    dead: [...flowNames],
    notReady: [dnat],
    degraded: named,
    cause: /nft ip other c: tcp flags syn drop may drop packets/,
  },
  {
    what: "packets after the first one, from one side",
    commands: nftChain("type filter hook forward priority 5;", "iifname net1 ct state established drop"),
    undo: noOther,
    ...allStopped,
    cause: /nft ip other c: iifname "net1" ct state established drop drops packets of 3 objects/,
  },
  {
    what: "packets of the usual class",
    commands: nftChain("type filter hook forward priority 5;", "ip dscp cs0 drop"),
    undo: noOther,
    dead: [...flowNames],
    degraded: named,
    cause: /nft ip other c: ip dscp cs0 drop may drop packets/,
  },
  {
    what: "a limit that drops what keeps below it",
    commands: nftChain("type filter hook forward priority 5;", "limit rate 1000/second drop"),
    undo: noOther,
    dead: [...flowNames],
    degraded: named,
    cause: /nft ip other c: limit rate 1000\/second .*drop may drop packets/,
  },
  {
    what: "a verdict map of addresses and protocols",
    commands: nftChain(
      "type filter hook forward priority 5;",
      "ip daddr . meta l4proto vmap { 10.0.1.6 . tcp : drop, 10.0.1.5 . udp : drop }",
    ),
    undo: noOther,
    dead: ["snat", "dnat"],
    notReady: [dnat],
    degraded: named,
    cause: /dnats\/web ForeignRule: nft ip other c: ip daddr \. \S+ \S+ vmap .* drops its packets/,
  },
  {
    what: "a concatenation of interfaces",
    commands: nftChain("type filter hook forward priority 5;", "iifname . oifname { net1 . eth0 } drop"),
    undo: noOther,
    dead: [...flowNames],
    degraded: named,
    cause: /nft ip other c: iifname \. oifname .* drop may drop packets/,
  },
  {
    what: "a chain in braces",
    commands: nftChain(
      "type filter hook forward priority 5;",
      "ip daddr 10.0.1.5 jump { tcp dport 22 accept; drop; }",
    ),
    undo: noOther,
    dead: ["fip in", "fip out"],
    degraded: named,
    cause: /nft ip other \{1\}: drop may drop packets/,
  },
  {
    what: "packets that the next router drops",
    commands: nftChain("type filter hook prerouting priority -350;", "ip ttl set 1"),
    undo: noOther,
    ...allStopped,
    cause: /ip ttl set 1 rewrites its packets/,
  },
  {
    what: "frames to nobody",
    commands: [
      "nft add table netdev other",
      "nft add chain netdev other c '{ type filter hook egress device net1 priority 0; }'",
      "nft add rule netdev other c ether type ip ether daddr set 02:00:00:00:00:99",
    ],
    undo: ["nft delete table netdev other"],
    ...allStopped,
    cause: /ether daddr set 02:00:00:00:00:99 rewrites its packets/,
  },
  {
    what: "a table named like the agent's",
    commands: [
      "nft add table inet natgw_other",
      "nft add chain inet natgw_other c '{ type filter hook forward priority 0; policy drop; }'",
    ],
    undo: ["nft delete table inet natgw_other"],
    ...allStopped,
    cause: /nft inet natgw_other -P c DROP drops its packets/,
  },
  {
    what: "a rule that drops a pod's packets",
    commands: nftChain(
      "type filter hook forward priority -400;",
      "ip daddr { 10.0.1.5, 10.0.2.0/24 } counter drop",
    ),
    undo: noOther,
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: named,
    cause: /nft ip other c: ip daddr \{ 10\.0\.1\.5, 10\.0\.2\.0\/24 \} counter drop drops/,
  },
  {
    what: "a set of addresses that holds an EIP",
    commands: [
      "nft add table inet other",
      "nft add set inet other bad '{ type ipv4_addr; elements = { 198.51.100.7, 203.0.113.10 }; }'",
      "nft add chain inet other sub",
      "nft add rule inet other sub ip daddr @bad drop",
      "nft add chain inet other c '{ type filter hook prerouting priority -150; }'",
      "nft add rule inet other c iifname net1 jump sub",
    ],
    undo: ["nft delete table inet other"],
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: named,
    cause: /ForeignRule: nft inet other sub: ip daddr @bad drop drops its packets/,
  },
  {
    what: "a set of other addresses",
    commands: [
      "nft add table inet other",
      "nft add set inet other bad '{ type ipv4_addr; flags interval; elements = { 198.51.100.0/24 }; }'",
      "nft add chain inet other c '{ type filter hook prerouting priority -150; }'",
      "nft add rule inet other c ip saddr @bad drop",
    ],
    undo: ["nft delete table inet other"],
  },
  {
    what: "a named verdict map",
    commands: [
      "nft add table ip other",
      "nft add map ip other fate '{ type ipv4_addr : verdict; elements = { 10.0.1.5 : drop, 10.0.1.77 : drop, 10.0.1.6 : accept }; }'",
      "nft add chain ip other c '{ type filter hook forward priority 5; }'",
      "nft add rule ip other c ip daddr vmap @fate",
    ],
    undo: noOther,
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: named,
    cause: /fips\/pod1 ForeignRule: nft ip other c: ip daddr vmap @fate drops its packets/,
  },
  {
    what: "chains where no packet of an object comes along: of IPv6, of what the gateway itself gets and sends",
    commands: [
      "nft add table ip6 other",
      "nft add chain ip6 other c '{ type filter hook forward priority 0; policy drop; }'",
      "nft add table ip other",
      "nft add chain ip other in '{ type filter hook input priority 0; policy drop; }'",
      "nft add chain ip other out '{ type filter hook output priority 0; policy drop; }'",
    ],
    undo: ["nft delete table ip6 other", ...noOther],
  },
  {
    what: "nothing is tracked",
    commands: nftChain("type filter hook prerouting priority -300;", "notrack"),
    undo: noOther,
    ...allStopped,
    cause: /nft ip other c: notrack does not track its packets/,
  },
  {
    what: "packets lose the mark of the VPC, which only a hairpin needs",
    commands: nftChain("type filter hook prerouting priority -140;", "meta mark set ct mark"),
    undo: noOther,
    degraded: named,
    cause: /nft ip other c: meta mark set ct mark may unmark packets of the VPC/,
  },
  {
    what: "packets of one side are tracked in a zone",
    commands: nftChain("type filter hook prerouting priority -300;", 'iifname "net1" ct zone set 5'),
    undo: noOther,
    degraded: named,
    dead: [...flowNames],
    cause: /nft ip other c: iifname "net1" ct zone set 5 may not track/,
  },
  {
    what: "packets of both sides are tracked in a zone",
    commands: nftChain("type filter hook prerouting priority -300;", "ct zone set 5"),
    undo: noOther,
    degraded: named,
    cause: /nft ip other c: ct zone set 5 may not track/,
  },
  {
    what: "packets look as if they were for others",
    commands: nftChain("type filter hook prerouting priority -300;", "meta pkttype set other"),
    undo: noOther,
    degraded: named,
    dead: [...flowNames],
    cause: /nft ip other c: meta pkttype set other may rewrite/,
  },
  {
    what: "an earlier chain translates a mapped port",
    commands: nftChain(
      "type nat hook prerouting priority -110;",
      "ip daddr 203.0.113.11 tcp dport 8080 dnat to 10.0.1.5:80",
    ),
    undo: noOther,
    dead: ["dnat"],
    notReady: [dnat],
    degraded: named,
    cause: /dnats\/web ForeignRule: nft ip other c: .* dnat to 10\.0\.1\.5:80 translates its packets/,
  },
  {
    what: "an earlier chain hides what leaves",
    commands: nftChain("type nat hook postrouting priority 90;", "oifname net1 masquerade"),
    undo: noOther,
    dead: ["fip out", "snat"],
    notReady: [fip, snat],
    degraded: named,
    cause: /masquerade translates its packets/,
  },
  {
    what: "a later chain translates what is left",
    commands: nftChain("type nat hook postrouting priority 110;", "oifname net1 masquerade"),
    undo: noOther,
  },
  {
    what: "packets are rewritten",
    commands: nftChain(
      "type filter hook prerouting priority -250;",
      "ip daddr 203.0.113.11 tcp dport 8080 ip daddr set 203.0.113.77",
    ),
    undo: noOther,
    dead: ["dnat"],
    notReady: [dnat],
    degraded: named,
    cause: /ip daddr set 203\.0\.113\.77 rewrites its packets/,
  },
  {
    what: "a device's chain drops what is for an EIP",
    commands: [
      "nft add table netdev other",
      "nft add chain netdev other c '{ type filter hook ingress device net1 priority 0; }'",
      "nft add rule netdev other c ip daddr 203.0.113.10 drop",
    ],
    undo: ["nft delete table netdev other"],
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: named,
    cause: /nft netdev other c: ip daddr 203\.0\.113\.10 drop drops its packets/,
  },
  {
    what: "no ARP comes in",
    commands: [
      knowOutside,
      "nft add table arp other",
      "nft add chain arp other c '{ type filter hook input priority 0; policy drop; }'",
      { at: "outside", line: "ip neigh flush dev eth0" },
    ],
    undo: ["nft delete table arp other", forgetOutside],
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: nft arp other c drops ARP/,
  },
  {
    what: "no ARP requests come in by the outside interface",
    commands: [
      knowOutside,
      ...deafToAnnouncements,
      "nft add table netdev other",
      "nft add chain netdev other c '{ type filter hook ingress device net1 priority 0; }'",
      "nft add rule netdev other c ether type arp arp operation request drop",
      { at: "outside", line: "ip neigh flush dev eth0" },
    ],
    undo: ["nft delete table netdev other", ...hearAgain],
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: nft netdev other c: .* may drop ARP/,
  },
  {
    what: "nothing but IPv4 comes in by the outside interface",
    commands: [
      knowOutside,
      ...deafToAnnouncements,
      "nft add table netdev other",
      "nft add chain netdev other c '{ type filter hook ingress device net1 priority 0; policy drop; }'",
      "nft add rule netdev other c ether type ip accept",
      { at: "outside", line: "ip neigh flush dev eth0" },
    ],
    undo: ["nft delete table netdev other", ...hearAgain],
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: nft netdev other c drops ARP/,
  },
  {
    what: "arptables",
    commands: [
      knowOutside,
      ...deafToAnnouncements,
      "arptables -A INPUT -i net1 -j DROP",
      { at: "outside", line: "ip neigh flush dev eth0" },
    ],
    undo: ["nft delete table arp filter", ...hearAgain],
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: nft arp filter INPUT drops ARP/,
  },
  {
    what: "a firewall that stops what nobody wants",
    commands: nftChain(
      "type filter hook forward priority 0;",
      "ct state invalid drop",
      "ct state established,related accept",
      "ip saddr 198.51.100.0/24 drop",
      "tcp dport 22 reject",
      "tcp flags syn limit rate over 1000/second drop",
      "iifname nosuch drop",
      "limit rate over 100 mbytes/second drop",
      "ip frag-off & 0x1fff != 0 drop",
      "tcp flags & (fin | syn) == (fin | syn) drop",
      "ip dscp set cs1",
      "ip frag-off set 0",
      "meta mark set meta mark | 0x100",
      "ip ttl set 64",
    ),
    undo: noOther,
  },
  {
    what: "a rule that nobody understands",
    commands: nftChain("type filter hook forward priority 0;", "meta mark 0x77 drop"),
    undo: noOther,
    degraded: named,
    cause: /ForeignRule: nft ip other c: meta mark 0x00000077 drop may drop packets$/m,
  },
  {
    what: "a table of another that sleeps",
    commands: [
      "nft add table ip other '{ flags dormant; }'",
      "nft add chain ip other c '{ type filter hook forward priority 0; policy drop; }'",
    ],
    undo: noOther,
  },
];

const takes = "action mirred egress redirect dev eth0";

function filterOf(where: string, what: string): Pick<Obstruction, "commands" | "undo" | "hasEvent"> {
  return {
    commands: ["tc qdisc add dev net1 clsact", `tc filter add dev net1 ${where} pref 10 ${what}`],
    undo: ["tc qdisc del dev net1 clsact"],
    hasEvent: false,
  };
}

/** What is attached to a device, which no netfilter tool shows. */
const onDevices: readonly Obstruction[] = [
  {
    what: "a filter takes what comes in for an EIP",
    ...filterOf("ingress", `protocol ip u32 match ip dst 203.0.113.10/32 ${takes}`),
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: named,
    cause:
      /fips\/pod1 ForeignRule: tc filter dev net1 ingress: pref 10 u32 match cb00710a\/ffffffff at 16 action mirred redirect takes its packets/,
  },
  {
    what: "a filter takes all that goes out",
    ...filterOf("egress", `protocol ip u32 match u32 0 0 ${takes}`),
    ...allStopped,
    cause: /snats\/all ForeignRule: tc filter dev net1 egress: pref 10 u32 .* takes its packets/,
  },
  {
    what: "a filter mirrors what comes in, and one takes what is for others",
    ...filterOf("ingress", "protocol ip u32 match u32 0 0 action mirred egress mirror dev eth0"),
    commands: [
      ...filterOf("ingress", "protocol ip u32 match u32 0 0 action mirred egress mirror dev eth0").commands,
      `tc filter add dev net1 ingress pref 20 protocol ip u32 match ip dst 192.0.2.0/24 ${takes}`,
    ],
  },
  {
    what: "an ifb gets all that comes in, and gives it back",
    commands: [
      "ip link add ifb9 type ifb; ip link set ifb9 up; tc qdisc add dev net1 ingress",
      "tc filter add dev net1 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ifb9",
    ],
    undo: ["tc qdisc del dev net1 ingress; ip link del ifb9"],
    hasEvent: false,
  },
  {
    what: "an ifb that is down gets all that comes in",
    commands: [
      "ip link add ifb9 type ifb; tc qdisc add dev net1 ingress",
      "tc filter add dev net1 parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ifb9",
    ],
    undo: ["tc qdisc del dev net1 ingress; ip link del ifb9"],
    hasEvent: false,
    ...allStopped,
    cause: /fips\/pod1 ForeignRule: tc filter dev net1 ingress: .* redirect takes its packets/,
  },
  {
    what: "a filter takes ARP",
    commands: [
      knowOutside,
      ...filterOf("ingress", `protocol arp u32 match u32 0 0 ${takes}`).commands,
      { at: "outside", line: "ip neigh flush dev eth0" },
    ],
    undo: ["tc qdisc del dev net1 clsact", forgetOutside],
    hasEvent: false,
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: tc arp filter dev net1 ingress drops ARP/,
  },
  {
    what: "a filter in a chain where no packet gets to",
    ...filterOf("ingress", `chain 7 protocol ip u32 match u32 0 0 ${takes}`),
  },
  {
    what: "the queue of a class drops all",
    commands: [
      "tc qdisc add dev net1 root handle 7: htb default 1; tc class add dev net1 parent 7: classid 7:1 htb rate 1gbit",
      "tc qdisc add dev net1 parent 7:1 blackhole",
    ],
    undo: ["tc qdisc del dev net1 root"],
    hasEvent: false,
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: tc qdisc dev net1 parent 7:1: blackhole may drop packets/,
  },
  {
    what: "a rate at which nothing gets through",
    commands: ["tc qdisc add dev net1 root tbf rate 8bit burst 100 limit 2000"],
    undo: ["tc qdisc del dev net1 root"],
    hasEvent: false,
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: tc qdisc dev net1 root: tbf rate 8bit burst 100b may drop packets/,
  },
  ...[
    ["net1", "blackhole", "blackhole"],
    ["eth0", "pfifo limit 0", "pfifo limit 0"],
    ["eth0", "bfifo limit 10", "bfifo limit 10"],
    ["net1", "tbf rate 1mbit burst 10 limit 2000", "tbf rate 1000000bit burst 10b"],
  ].map(([device, qdisc, text]) => ({
    what: `a qdisc of ${device} drops all: ${qdisc}`,
    commands: [`tc qdisc add dev ${device} root ${qdisc}`],
    undo: [`tc qdisc del dev ${device} root`],
    hasEvent: false,
    ...allStopped,
    cause: new RegExp(`snats/all ForeignRule: tc qdisc dev ${device} root: ${text} drops its packets`),
  })),
  {
    what: "an XDP program, which may do anything, drops what comes in",
    commands: [`${process.execPath} test/support/attach-xdp.ts net1`],
    undo: ["ip link set dev net1 xdpgeneric off"],
    hasEvent: true,
    dead: [...flowNames],
    degraded: named,
    cause: /ForeignRule: ip link net1 xdpgeneric: program \d+ may drop packets/,
  },
];

const everybody = "src 0.0.0.0/0 dst 0.0.0.0/0";
const noPolicies = "ip xfrm policy flush";

function policies(...added: readonly string[]): Pick<Obstruction, "commands" | "undo" | "hasEvent"> {
  return {
    commands: added.map((policy) => `ip xfrm policy add ${policy}`),
    undo: [noPolicies],
    hasEvent: false,
  };
}

/** IPsec policies, which only `ip xfrm` shows. */
const ipsec: readonly Obstruction[] = [
  {
    what: "an IPsec policy blocks all that is forwarded",
    ...policies(`${everybody} dir fwd action block`),
    ...allStopped,
    cause:
      /fips\/pod1 ForeignRule: ip xfrm policy fwd: src 0\.0\.0\.0\/0 dst 0\.0\.0\.0\/0 dir fwd action block priority 0 drops its packets/,
  },
  {
    what: "policies for addresses before DNAT, and a pod's address, which none of them sees",
    ...policies(
      "src 0.0.0.0/0 dst 203.0.113.11/32 proto tcp dport 8080 dir fwd action block",
      "src 0.0.0.0/0 dst 10.0.1.5/32 dir fwd action block",
    ),
    dead: ["dnat"],
    notReady: [dnat],
    degraded: named,
    cause: /dnats\/web ForeignRule: ip xfrm policy fwd: .* proto tcp dport 8080 dir fwd .* drops its packets/,
  },
  {
    what: "a policy for the address after SNAT",
    ...policies("src 203.0.113.10/32 dst 0.0.0.0/0 dir out action block priority 9"),
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: named,
    cause: /fips\/pod1 ForeignRule: ip xfrm policy out: src 203\.0\.113\.10\/32 .* drops its packets/,
  },
  {
    what: "a policy for the address after DNAT",
    ...policies("src 0.0.0.0/0 dst 10.0.1.5/32 dir out action block"),
    dead: ["fip in", "fip out"],
    notReady: [fip],
    degraded: named,
    cause: /fips\/pod1 ForeignRule: ip xfrm policy out: .* dst 10\.0\.1\.5\/32 .* drops its packets/,
  },
  {
    what: "a policy that wants all packets encrypted",
    ...policies(`${everybody} dir out tmpl proto esp mode transport`),
    ...allStopped,
    cause:
      /fips\/pod1 ForeignRule: ip xfrm policy out: .* tmpl .* proto esp mode transport takes its packets/,
  },
  {
    what: "a policy that wants a pod's packets encrypted, which may be undone after SNAT",
    ...policies(
      "src 10.0.1.6/32 dst 0.0.0.0/0 dir out tmpl src 203.0.113.254 dst 203.0.113.1 proto esp mode tunnel",
    ),
    dead: ["snat", "dnat"],
    degraded: named,
    cause: /ForeignRule: ip xfrm policy out: src 10\.0\.1\.6\/32 .* may take packets/,
  },
  {
    what: "packets without a policy are blocked",
    commands: ["ip xfrm policy setdefault fwd block"],
    undo: ["ip xfrm policy setdefault fwd accept"],
    hasEvent: false,
    ...allStopped,
    cause: /fips\/pod1 ForeignRule: ip xfrm policy fwd: setdefault fwd block drops its packets/,
  },
  {
    what: "policies that stop nothing: the first one wins, others are for a tunnel, IPv6, an XFRM interface, the gateway itself",
    ...policies(
      "src 0.0.0.0/0 dst 203.0.113.10/32 dir fwd action block priority 5",
      `${everybody} dir fwd priority 4`,
      "src 10.0.1.0/24 dst 192.0.2.0/24 dir out tmpl src 203.0.113.254 dst 203.0.113.1 proto esp mode tunnel",
      "src 192.0.2.0/24 dst 10.0.1.0/24 dir fwd tmpl src 203.0.113.1 dst 203.0.113.254 proto esp mode tunnel",
      "src ::/0 dst ::/0 dir fwd action block",
      `${everybody} dir out action block if_id 7`,
      "src 0.0.0.0/0 dst 203.0.113.254/32 proto udp dir in action block",
    ),
  },
  {
    what: "policies that sysctls switch off",
    commands: [
      "sysctl -qw net.ipv4.conf.net1.disable_policy=1 net.ipv4.conf.eth0.disable_policy=1 net.ipv4.conf.all.disable_xfrm=1",
      ...["fwd", "out"].map((direction) => `ip xfrm policy add ${everybody} dir ${direction} action block`),
    ],
    undo: [
      noPolicies,
      "sysctl -qw net.ipv4.conf.net1.disable_policy=0 net.ipv4.conf.eth0.disable_policy=0 net.ipv4.conf.all.disable_xfrm=0",
    ],
    hasEvent: false,
  },
];

function byIptables(variant: Variant): readonly Row[] {
  return [
    {
      what: `${variant}: -P FORWARD DROP`,
      commands: [`${variant} -P FORWARD DROP`],
      undo: [`${variant} -P FORWARD ACCEPT`],
      ...allStopped,
      cause: new RegExp(`fips/pod1 ForeignRule: ${variant} -t filter -P FORWARD DROP drops its packets`),
    },
    {
      what: `${variant}: a pod's packets are rejected by a chain that others lead to`,
      commands: [
        `${variant} -N OTHER; ${variant} -A OTHER -d 10.0.1.6/32 -m comment --comment "go away" -j REJECT`,
        `${variant} -I FORWARD -i net1 -j OTHER`,
      ],
      undo: [`${variant} -D FORWARD -i net1 -j OTHER; ${variant} -F OTHER; ${variant} -X OTHER`],
      dead: ["snat", "dnat"],
      notReady: [dnat],
      degraded: named,
      cause: new RegExp(`${variant} -t filter -A OTHER -d 10.0.1.6/32 .*-j REJECT .*drops its packets`),
    },
    {
      what: `${variant}: a chain with the name of one of the agent's, in another table`,
      commands: [
        `${variant} -N SHARED_SNAT; ${variant} -A SHARED_SNAT -j DROP; ${variant} -I FORWARD -j SHARED_SNAT`,
      ],
      undo: [`${variant} -D FORWARD -j SHARED_SNAT; ${variant} -F SHARED_SNAT; ${variant} -X SHARED_SNAT`],
      ...allStopped,
      cause: new RegExp(
        `fips/pod1 ForeignRule: ${variant} -t filter -A SHARED_SNAT -j DROP drops its packets`,
      ),
    },
    {
      what: `${variant}: nothing is tracked`,
      commands: [`${variant} -t raw -A PREROUTING -j CT --notrack`],
      undo: [`${variant} -t raw -F PREROUTING`],
      ...allStopped,
      cause: new RegExp(`${variant} -t raw -A PREROUTING -j CT --notrack does not track its packets`),
    },
    {
      what: `${variant}: packets of one side are tracked in a zone`,
      commands: [`${variant} -t raw -A PREROUTING -i eth0 -j CT --zone 7`],
      undo: [`${variant} -t raw -F PREROUTING`],
      degraded: named,
      dead: [...flowNames],
      cause: new RegExp(`${variant} -t raw -A PREROUTING -i eth0 -j CT --zone 7 may not track`),
    },
    {
      what: `${variant}: packets that the next router drops`,
      commands: [`${variant} -t mangle -A PREROUTING -j TTL --ttl-set 1`],
      undo: [`${variant} -t mangle -D PREROUTING -j TTL --ttl-set 1`],
      ...allStopped,
      cause: new RegExp(`${variant} -t mangle -A PREROUTING -j TTL --ttl-set 1 rewrites its packets`),
    },
    {
      what: `${variant}: every sender that is noted down`,
      commands: [`${variant} -A FORWARD -m recent --set --name other -j DROP`],
      undo: [`${variant} -D FORWARD -m recent --set --name other -j DROP`],
      ...allStopped,
      cause: new RegExp(
        `fips/pod1 ForeignRule: ${variant} -t filter -A FORWARD -m recent --set .* drops its`,
      ),
    },
    {
      what: `${variant}: what was translated`,
      commands: [`${variant} -A FORWARD -m conntrack --ctstate DNAT -j DROP`],
      undo: [`${variant} -D FORWARD -m conntrack --ctstate DNAT -j DROP`],
      dead: ["fip in", "dnat"],
      notReady: [fip, dnat],
      degraded: named,
      cause: new RegExp(`${variant} -t filter -A FORWARD .*--ctstate DNAT -j DROP drops its packets`),
    },
    {
      what: `${variant}: a firewall that stops what nobody wants`,
      commands: [
        `${variant} -t mangle -A FORWARD -m conntrack --ctstate INVALID -j DROP`,
        `${variant} -A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT`,
        `${variant} -A FORWARD -s 198.51.100.0/24 -j DROP; ${variant} -A FORWARD ! -i eth0 -p tcp --dport 22 -j DROP`,
        `${variant} -A FORWARD -f -j DROP`,
      ],
      undo: [
        `${variant} -t mangle -D FORWARD -m conntrack --ctstate INVALID -j DROP`,
        `${variant} -D FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT`,
        `${variant} -D FORWARD -s 198.51.100.0/24 -j DROP; ${variant} -D FORWARD ! -i eth0 -p tcp --dport 22 -j DROP`,
        `${variant} -D FORWARD -f -j DROP`,
      ],
    },
  ];
}

/** Rules before the jumps to the agent's chains. */
function aheadOfOurs(variant: Variant): readonly Row[] {
  const nat = (rule: string) => ({
    commands: [`${variant} -t nat -I ${rule}`],
    undo: [`${variant} -t nat -D ${rule}`],
  });
  return [
    {
      what: "a DNAT of another takes a mapped port",
      ...nat("PREROUTING -d 203.0.113.11/32 -p tcp --dport 8080 -j DNAT --to-destination 10.0.1.5:80"),
      dead: ["dnat"],
      notReady: [dnat],
      degraded: named,
      cause: /dnats\/web ForeignRule: iptables-.* -t nat -A PREROUTING .* -j DNAT .* translates its packets/,
    },
    {
      what: "an ACCEPT skips all DNAT",
      ...nat("PREROUTING -i net1 -j ACCEPT"),
      dead: ["fip in", "dnat"],
      notReady: [fip, dnat],
      degraded: named,
      cause: /-A PREROUTING -i net1 -j ACCEPT skips its packets/,
    },
    {
      what: "a RETURN skips a pod's SNAT",
      ...nat("POSTROUTING -s 10.0.1.5/32 -j RETURN"),
      dead: ["fip out"],
      notReady: [fip],
      degraded: named,
      cause: /-A POSTROUTING -s 10\.0\.1\.5\/32 -j RETURN/,
    },
    {
      what: "MASQUERADE for all that leaves",
      ...nat("POSTROUTING -o net1 -j MASQUERADE"),
      dead: ["fip out", "snat"],
      notReady: [fip, snat],
      degraded: named,
      cause: /-A POSTROUTING -o net1 -j MASQUERADE translates its packets/,
    },
  ];
}

/** What the agent repairs by itself, without any packet lost. */
function repaired(what: string, command: string): Obstruction {
  return { what, commands: [command], undo: [], hasEvent: true };
}

/** Dormant tables and chains without effect, which the agent repairs. */
/** The agent's own chains and tables of dataplanes that are not in use. It empties them, and removes them unless a rule leads there. */
function leftoversBeside(dataplane: DataplaneName): readonly Obstruction[] {
  const table = dataplane === "nftables" ? "kube-ovn" : "natgw";
  const beside = (["iptables-nft", "iptables-legacy"] as const).filter((variant) => variant !== dataplane);
  return [
    ...beside.flatMap((variant): readonly Obstruction[] => [
      {
        what: `${variant}: the chain that marks drops`,
        commands: [
          `${variant} -t mangle -N VPC_MARK; ${variant} -t mangle -A VPC_MARK -j DROP; ${variant} -t mangle -I FORWARD -j VPC_MARK`,
        ],
        undo: [],
        hasEvent: false,
      },
      {
        what: `${variant}: the chain that marks, still called, drops again`,
        commands: [`${variant} -t mangle -A VPC_MARK -j DROP`],
        undo: [`${variant} -t mangle -D FORWARD -j VPC_MARK; ${variant} -t mangle -X VPC_MARK || true`],
        hasEvent: false,
      },
      {
        what: `${variant}: another source in SNAT_FILTER`,
        commands: [
          `${variant} -t nat -N SNAT_FILTER; ${variant} -t nat -A SNAT_FILTER -s 10.0.1.0/24 -j SNAT --to-source 203.0.113.99`,
          `${variant} -t nat -I POSTROUTING -j SNAT_FILTER`,
        ],
        undo: [],
        hasEvent: false,
      },
    ]),
    {
      what: `table ip ${table} drops`,
      commands: [
        `nft add table ip ${table}`,
        `nft add chain ip ${table} c '{ type filter hook forward priority 5; policy drop; }'`,
      ],
      undo: [],
      hasEvent: false,
    },
  ];
}

const ineffective: Readonly<Record<DataplaneName, readonly Obstruction[]>> = {
  "iptables-nft": [
    repaired("the table of NAT sleeps", "nft add table ip nat '{ flags dormant; }'"),
    repaired("the table that marks sleeps", "nft add table ip mangle '{ flags dormant; }'"),
    repaired(
      "PREROUTING on no hook",
      "nft 'flush chain ip nat PREROUTING; delete chain ip nat PREROUTING; add chain ip nat PREROUTING; add rule ip nat PREROUTING jump DNAT_FILTER'",
    ),
    repaired(
      "POSTROUTING of another priority",
      "nft 'flush chain ip nat POSTROUTING; delete chain ip nat POSTROUTING; add chain ip nat POSTROUTING { type nat hook postrouting priority 110; }; add rule ip nat POSTROUTING jump SNAT_FILTER'",
    ),
    {
      what: "PREROUTING on no hook, with a rule of another",
      commands: [
        "nft 'flush chain ip nat PREROUTING; delete chain ip nat PREROUTING; add chain ip nat PREROUTING; add rule ip nat PREROUTING jump DNAT_FILTER; add rule ip nat PREROUTING ip saddr 192.0.2.1 accept'",
      ],
      undo: ["nft 'flush chain ip nat PREROUTING; add rule ip nat PREROUTING jump DNAT_FILTER'"],
      hasEvent: true,
      dead: ["fip in", "dnat"],
      notReady: ["fips/pod1", "dnats/web"],
      degraded: ["ForeignRule"],
      cause: /fips\/pod1 ForeignRule: chain ip nat PREROUTING is on no hook/,
    },
    ...[-110, -100].map((priority) => ({
      what: `another chain of the table of NAT at priority ${priority}`,
      commands: [
        `nft add chain ip nat OTHER '{ type nat hook prerouting priority ${priority}; }'`,
        "nft add rule ip nat OTHER tcp dport 8080 dnat to 10.0.1.5:80",
      ],
      undo: ["nft delete chain ip nat OTHER"],
      hasEvent: true,
      dead: ["dnat"] as const,
      ...(priority < -100 && { notReady: [dnat] }),
      degraded: named,
      cause: /ForeignRule: nft ip nat OTHER: .* dnat to 10\.0\.1\.5:80 (?:translates|may translate)/,
    })),
    repaired(
      "a policy that drops in the table of NAT",
      "nft add chain ip nat POSTROUTING '{ policy drop; }'",
    ),
  ],
  "iptables-legacy": [],
  nftables: [
    repaired("the table of NAT sleeps", "nft add table ip natgw '{ flags dormant; }'"),
    repaired("a chain of NAT that drops at its end", "nft add chain ip natgw post '{ policy drop; }'"),
    repaired("the guard sleeps", "nft add table ip natgw_guard '{ flags dormant; }'"),
  ],
};
