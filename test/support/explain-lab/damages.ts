/** What happens to a gateway before packets are sent: as commands that a person would type, and how to undo it. */
import type { DataplaneName } from "../gateway.ts";
import type { HostName } from "../lab.ts";
import { addressesOf, type Dice, eipNumbers } from "./questions.ts";

type Command = string | { readonly at: HostName; readonly line: string };

export interface Damage {
  readonly what: string;
  readonly commands: readonly Command[];
  readonly undo: readonly Command[];
  /** True if the agent repairs it. */
  readonly isRepaired?: boolean;
}

const defaultRoute = "ip route add default via 203.0.113.1 dev net1 onlink proto 196";
const routesBack = [
  "ip route replace 10.0.0.0/8 via 10.0.1.1 dev eth0",
  "ip route replace 10.0.2.0/24 via 10.0.1.6 dev eth0 proto 196",
];

export function damagesOf(dataplane: DataplaneName, dice: Dice): readonly (() => Damage)[] {
  const aPod = () => dice.pick([...addressesOf.pod1, ...addressesOf.pod2]);
  const anEip = () => `203.0.113.${dice.pick(eipNumbers)}`;
  return [
    () => ({ what: "nothing", commands: [], undo: [] }),
    () =>
      nft(`type filter hook forward priority ${dice.pick([-200, 0, 5])};`, [
        `ip ${dice.pick(["saddr", "daddr"])} ${aPod()} drop`,
      ]),
    () =>
      nft("type filter hook forward priority 5; policy drop;", [
        "ct state established,related accept",
        `ip daddr ${aPod()} accept`,
        "iifname eth0 oifname net1 tcp dport 80 accept",
      ]),
    () =>
      nft(`type filter hook prerouting priority ${dice.pick([-200, -50])};`, [
        `ip daddr ${dice.isTrue(0.5) ? anEip() : aPod()} tcp dport ${dice.pick([80, 8080])} drop`,
      ]),
    () => nft(`type nat hook postrouting priority ${dice.pick([90, 110])};`, ["oifname net1 masquerade"]),
    () =>
      nft("type nat hook prerouting priority -110;", [
        `ip daddr ${anEip()} tcp dport ${dice.pick([80, 8080])} dnat to 10.0.1.5:81`,
      ]),
    () =>
      nft("type filter hook prerouting priority -300;", [
        dice.pick(["notrack", "iifname eth0 notrack", "tcp dport 80 notrack"]),
      ]),
    () =>
      foreign(
        dice.pick(["iptables-nft", "iptables-legacy"]),
        dice.pick([
          "-P FORWARD DROP",
          `-A FORWARD -d ${aPod()} -j DROP`,
          "-A FORWARD -i eth0 -p udp -j REJECT",
        ]),
      ),
    () => {
      const policy = dice.pick([
        `src 0.0.0.0/0 dst ${anEip()} dir ${dice.pick(["fwd", "out"])} action block`,
        `src ${anEip()} dst 0.0.0.0/0 dir fwd action block`,
        `src ${anEip()} dst 0.0.0.0/0 proto tcp sport 8080 dir out action block`,
        `src ${aPod()} dst 0.0.0.0/0 dir ${dice.pick(["fwd", "out"])} action block`,
        `src 0.0.0.0/0 dst ${aPod()} dir ${dice.pick(["fwd", "out"])} action block`,
        `src 0.0.0.0/0 dst 0.0.0.0/0 proto tcp dport 80 dev ${dice.pick(["eth0", "net1"])} dir fwd action block`,
        "src 0.0.0.0/0 dst 10.0.0.0/8 dir out tmpl proto esp mode transport",
      ]);
      return {
        what: `ip xfrm policy ${policy}`,
        commands: [`ip xfrm policy add ${policy}`],
        undo: ["ip xfrm policy flush"],
      };
    },
    () => ({
      what: "a closed gate",
      commands: [
        'nft -f - <<\'E\'\ntable ip natgw_gate { chain postrouting { type filter hook postrouting priority 300; policy accept; oifname "net1" iifname "eth0" ct status & (snat | dnat) == 0 counter drop; oifname "net1" iifname "eth0" ct state invalid,untracked counter drop; }; }\nE',
      ],
      undo: ["nft delete table ip natgw_gate"],
    }),
    () => ({
      what: "no default route",
      commands: ["ip route del default"],
      undo: [defaultRoute],
    }),
    () => {
      const route = dice.pick([
        `blackhole ${aPod()}/32`,
        "unreachable 198.51.100.0/24",
        "10.0.1.15/32 dev net1",
      ]);
      return { what: `route ${route}`, commands: [`ip route add ${route}`], undo: [`ip route del ${route}`] };
    },
    () => {
      const rule = dice.pick([
        `from ${aPod()} prohibit`,
        `to ${aPod()} blackhole`,
        "fwmark 0x1/0x1 blackhole",
        "iif net1 lookup 100",
      ]);
      return {
        what: `ip rule ${rule}`,
        commands: ["ip route add blackhole default table 100", `ip rule add ${rule} priority 100`],
        undo: ["ip rule del priority 100", "ip route flush table 100"],
      };
    },
    () => flushed(dataplane, dice),
    () => flushed(dataplane, dice),
    () => flushed(dataplane, dice),
    () => {
      const address = anEip();
      return {
        what: `without ${address}`,
        commands: [
          `ip address del ${address}/24 dev net1`,
          { at: "outside", line: "ip neigh flush dev eth0" },
        ],
        undo: [`ip address add ${address}/24 dev net1`],
      };
    },
    () => {
      const name = dice.pick(["ip_forward", "conf.net1.forwarding", "conf.eth0.forwarding"]);
      return {
        what: `${name}=0`,
        commands: [`sysctl -qw net.ipv4.${name}=0`],
        undo: ["sysctl -qw net.ipv4.ip_forward=0 net.ipv4.ip_forward=1"],
      };
    },
    () => {
      const name = dice.pick(["all", "net1", "eth0"]);
      return {
        what: `rp_filter on ${name}, and no default route`,
        commands: [`sysctl -qw net.ipv4.conf.${name}.rp_filter=1`, "ip route del default"],
        undo: [`sysctl -qw net.ipv4.conf.${name}.rp_filter=0`, defaultRoute],
      };
    },
    () => ({
      what: "the VPC interface down",
      commands: ["ip link set eth0 down"],
      undo: ["ip link set eth0 up", ...routesBack],
    }),
  ];
}

function nft(hook: string, rules: readonly string[]): Damage {
  return {
    what: `nft ${hook} ${rules.join(", ")}`,
    commands: [
      "nft add table ip other",
      `nft add chain ip other c '{ ${hook} }'`,
      ...rules.map((rule) => `nft add rule ip other c '${rule}'`),
    ],
    undo: ["nft delete table ip other"],
  };
}

function foreign(tool: string, rule: string): Damage {
  const undo = rule.startsWith("-P") ? "-P FORWARD ACCEPT" : rule.replace("-A", "-D");
  return { what: `${tool} ${rule}`, commands: [`${tool} ${rule}`], undo: [`${tool} ${undo}`] };
}

/** Rules that are gone. What was there is put back. */
function flushed(dataplane: DataplaneName, dice: Dice): Damage {
  if (dataplane === "nftables") {
    const what = dice.pick([
      "map ip natgw fip_in",
      "map ip natgw fip_out",
      "map ip natgw snat_r",
      "map ip natgw dnat_1",
      "map ip natgw dnat_n",
      "map ip natgw hairpin",
      "chain ip natgw pre",
      "chain ip natgw post",
      "chain ip natgw vpc_mark",
    ]);
    return {
      what: `flush ${what}`,
      commands: [`nft flush ${what}`],
      undo: [],
      isRepaired: true,
    };
  }
  const flush = dice.pick([
    "nat -F EXCLUSIVE_DNAT",
    "nat -F EXCLUSIVE_SNAT",
    "nat -F SHARED_DNAT",
    "nat -F SHARED_SNAT",
    "nat -D SHARED_SNAT 1",
    "nat -F HAIRPIN_SNAT",
    "nat -F PREROUTING",
    "nat -F POSTROUTING",
    "nat -F SNAT_FILTER",
    "mangle -F VPC_MARK",
    "nat -I SHARED_SNAT -s 10.0.1.0/24 -j RETURN",
  ]);
  return {
    what: `${dataplane} -t ${flush}`,
    commands: [`${dataplane}-save > $DIR/rules.save`, `${dataplane} -t ${flush}`],
    undo: [`${dataplane}-restore < $DIR/rules.save`],
  };
}
