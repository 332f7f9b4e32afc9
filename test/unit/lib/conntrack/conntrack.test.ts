import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { compileRouting, notUnicast, unrouted } from "../../../../lib/conntrack/device.ts";
import { endsAt, endsRuledBy, hasEndOf } from "../../../../lib/conntrack/ends.ts";
import { type Flow, flowStatus, viewOf } from "../../../../lib/conntrack/flow.ts";
import { compileContradicts } from "../../../../lib/conntrack/permits.ts";
import { PrefixTable } from "../../../../lib/conntrack/prefix-table.ts";
import { flowKey, renderFlow } from "../../../../lib/conntrack/text.ts";
import { ipv4, toU32 } from "../../../../lib/model/ipv4.ts";
import {
  cidr,
  flow,
  ip,
  network,
  nic,
  program,
  route,
  type SampleProgram,
} from "../../../support/conntrack-samples.ts";

interface Case {
  readonly name: string;
  readonly program?: SampleProgram;
  readonly retired?: readonly string[];
  readonly go?: readonly (string | Flow)[];
  readonly stay?: readonly (string | Flow)[];
}

const eip = "203.0.113.10";
const eip2 = "203.0.113.11";
const pod = "10.0.1.5";
const pod2 = "10.0.1.6";
const peer = "198.51.100.7";
const fip: SampleProgram = { fips: [[eip, pod]] };
const snat: SampleProgram = { snats: [[eip, "10.0.1.0/24"]] };
const dnat: SampleProgram = { dnats: [[`${eip}:8080/tcp`, `${pod}:80`, `${pod2}:81`]] };

const cases: readonly Case[] = [
  {
    name: "a FIP: its own flows stay, what began before it goes",
    program: fip,
    stay: [
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`,
      `icmp ${peer} ${eip} | ${pod} ${peer}`,
      `icmp ${pod} ${peer} | ${peer} ${eip}`,
    ],
    go: [
      `udp ${peer}:4000 ${eip}:53`,
      `udp ${pod}:4000 ${peer}:53`,
      `icmp ${peer} ${eip}`,
      `icmp ${pod} ${peer}`,
    ],
  },
  {
    name: "an EIP that is not held: what objects on it translate stays, with the hairpin rule of before and without",
    program: { ...dnat, unbound: [eip] },
    stay: [
      `tcp ${peer}:4000 ${eip}:8080 | ${pod}:80 ${peer}:4000`,
      `tcp ${pod2}:4001 ${eip}:8080 | ${pod}:80 ${eip}:4001`,
      `tcp ${pod2}:4000 ${eip}:8080 | ${pod}:80 ${pod2}:4000`,
    ],
    go: [
      `tcp ${peer}:4001 ${eip}:81 | ${pod}:80 ${peer}:4001`,
      `udp ${pod}:4002 ${peer}:53 | ${peer}:53 ${eip}:4002`,
    ],
  },
  {
    name: "a DNAT beside a FIP: what it made before stays, and nothing else does",
    program: { ...fip, dnats: [[`${eip}:80/tcp`, `${pod2}:8080`]] },
    stay: [
      `tcp ${peer}:4000 ${eip}:80 | ${pod2}:8080 ${peer}:4000`,
      `tcp ${peer}:4001 ${eip}:80 | ${pod}:80 ${peer}:4001`,
    ],
    go: [
      `tcp ${peer}:4002 ${eip}:80`,
      `tcp ${peer}:4003 ${eip}:81 | ${pod2}:8080 ${peer}:4003`,
      `udp ${peer}:4004 ${eip}:80 | ${pod2}:8080 ${peer}:4004`,
    ],
  },
  {
    name: "a FIP that leads elsewhere now: flows of the old pod go, both ways",
    program: { fips: [[eip, pod2]] },
    go: [
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`,
      `icmp ${peer} ${eip} | ${pod} ${peer}`,
    ],
    stay: [`tcp ${pod}:4000 ${peer}:80`],
  },
  {
    name: "a FIP removed while its EIP stays",
    program: { eips: [eip] },
    go: [
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`,
    ],
    stay: [`icmp ${peer} ${eip}`],
  },
  {
    name: "an EIP removed and remembered: both tuples",
    retired: [eip],
    go: [
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:51234`,
      `tcp ${pod2}:4000 ${eip}:80 | ${pod}:80 ${eip}:4000`,
    ],
    stay: [`tcp ${pod}:4000 ${peer}:80`, `udp ${peer}:4000 ${eip}:53`],
  },
  {
    name: "translations to addresses that never were ours are foreign",
    go: [],
    stay: [
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 203.0.113.254:4000`,
    ],
  },
  {
    name: "foreign NAT beside rules of ours",
    program: { ...snat, fips: [[eip2, pod2]] },
    stay: [
      // Masqueraded by a foreign rule before the agent's rules existed.
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 203.0.113.254:4000`,
      // A foreign DNAT, with and without the agent's SNAT after it.
      `tcp ${pod}:4000 192.0.2.1:80 | ${peer}:8080 ${eip}:4000`,
      `tcp ${pod}:4000 192.0.2.1:80 | ${peer}:8080 ${pod}:4000`,
    ],
    // A foreign DNAT, and an SNAT that no object permits any more.
    go: [`tcp ${pod}:4000 192.0.2.1:80 | ${peer}:8080 ${eip2}:4000`],
  },
  {
    name: "a translated source port, a port clash and random ports do not matter",
    program: snat,
    stay: [`tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:61000`],
  },
  {
    name: "a port clash leaves IPS_SRC_NAT on a plain flow, which goes or stays by its addresses",
    program: snat,
    stay: [flow(`tcp ${peer}:4000 ${pod}:80 | ${pod}:80 ${peer}:4001`, { status: 1 << 4 })],
    go: [flow(`tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${pod}:4001`, { status: 1 << 4 })],
  },
  {
    name: "SNAT covers what leaves by its interface",
    program: snat,
    go: [
      `udp ${pod}:4000 ${peer}:53`,
      // Leaves by eth0, so no SNAT object translates it.
      `udp ${pod}:4000 10.0.9.9:53 | 10.0.9.9:53 ${eip}:4000`,
    ],
    stay: [
      `udp ${pod}:4000 10.0.9.9:53`,
      "udp 10.0.2.5:4000 198.51.100.7:53",
      // To the gateway itself, broadcast, or multicast.
      `udp ${pod}:4000 203.0.113.254:53`,
      `udp ${pod}:4000 203.0.113.255:53`,
      `udp ${pod}:4000 255.255.255.255:53`,
      `udp ${pod}:4000 224.0.0.251:5353`,
      `udp ${pod}:4000 ${eip}:53`,
      "udp 0.0.0.0:68 255.255.255.255:67",
    ],
  },
  {
    name: "a pool: any member's flows stay, whichever bucket the client is in",
    program: {
      snats: [
        [eip, "10.0.1.0/24"],
        [eip2, "10.0.1.0/24"],
      ],
    },
    stay: [
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`,
    ],
    go: [`tcp ${pod}:4000 ${peer}:80`],
  },
  {
    name: "a member that left its pool takes its flows along",
    program: { ...snat, eips: [eip2] },
    go: [`tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`],
  },
  {
    name: "a longer CIDR or a FIP does not end the flows of the SNAT that served the client before",
    program: {
      fips: [["203.0.113.12", pod2]],
      snats: [
        [eip, "10.0.0.0/16"],
        [eip2, "10.0.1.5/32"],
        ["203.0.113.13", "10.0.2.0/24"],
      ],
    },
    stay: [
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`,
      `tcp ${pod2}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`,
      `tcp ${pod2}:4000 ${peer}:80 | ${peer}:80 203.0.113.12:4000`,
    ],
    go: [
      `tcp ${pod}:4000 ${peer}:80`,
      `tcp ${pod2}:4000 ${peer}:80`,
      // The SNAT's CIDR never contained the client; the /32 belongs to another client; the FIP belongs to another pod.
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 203.0.113.13:4000`,
      `tcp ${pod2}:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 203.0.113.12:4000`,
    ],
  },
  {
    name: "a standby SNAT of a /32 permits nothing",
    program: {
      snats: [
        [eip, `${pod}/32`],
        [eip2, `${pod}/32`],
      ],
    },
    stay: [`tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`],
    go: [`tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`],
  },
  {
    name: "two FIPs of one pod: both inwards, new flows out by the older, running ones by either",
    program: {
      fips: [
        [eip, pod],
        [eip2, pod],
      ],
    },
    stay: [
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`,
      `tcp ${peer}:4000 ${eip2}:80 | ${pod}:80 ${peer}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`,
      `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`,
    ],
    go: [`tcp ${pod}:4000 ${peer}:80`],
  },
  {
    name: "a FIP translates whatever way the packet leaves",
    program: fip,
    go: [`tcp ${pod}:4000 10.0.9.9:80`],
    stay: [`tcp ${pod}:4000 10.0.9.9:80 | 10.0.9.9:80 ${eip}:4000`],
  },
  {
    name: "DNAT: any backend that is left, by address and port, and only for its protocol and port",
    program: dnat,
    stay: [
      `tcp ${peer}:4000 ${eip}:8080 | ${pod}:80 ${peer}:4000`,
      `tcp ${peer}:4000 ${eip}:8080 | ${pod2}:81 ${peer}:4000`,
      `udp ${peer}:4000 ${eip}:8080`,
      `tcp ${peer}:4000 ${eip}:22`,
      `icmp ${peer} ${eip}`,
    ],
    go: [
      `tcp ${peer}:4000 ${eip}:8080`,
      `tcp ${peer}:4000 ${eip}:8080 | ${pod2}:80 ${peer}:4000`,
      `tcp ${peer}:4000 ${eip}:8080 | 10.0.1.7:80 ${peer}:4000`,
      `tcp ${peer}:4000 ${eip}:8081 | ${pod}:80 ${peer}:4000`,
      `udp ${peer}:4000 ${eip}:8080 | ${pod}:80 ${peer}:4000`,
      `icmp ${peer} ${eip} | ${pod} ${peer}`,
    ],
  },
  {
    name: "DNAT by UDP and SCTP",
    program: {
      dnats: [
        [`${eip}:53/udp`, `${pod}:5353`],
        [`${eip}:99/sctp`, `${pod}:98`],
      ],
    },
    stay: [
      `udp ${peer}:4000 ${eip}:53 | ${pod}:5353 ${peer}:4000`,
      `sctp ${peer}:4000 ${eip}:99 | ${pod}:98 ${peer}:4000`,
    ],
    go: [`udp ${peer}:4000 ${eip}:53`, `sctp ${peer}:4000 ${eip}:99`],
  },
  {
    name: "hairpin: from the VPC to an EIP that is answered inside, the source becomes the EIP",
    program: { fips: [[eip, pod]], dnats: [[`${eip2}:80/tcp`, `${pod}:80`]] },
    stay: [
      `tcp ${pod2}:4000 ${eip}:80 | ${pod}:80 ${eip}:4000`,
      `tcp ${pod2}:4000 ${eip2}:80 | ${pod}:80 ${eip2}:61000`,
      // A pod with a FIP leaves by its FIP, also to itself.
      `tcp ${pod}:4000 ${eip2}:80 | ${pod}:80 ${eip}:4000`,
      `tcp ${pod}:4000 ${eip}:80 | ${pod}:80 ${eip}:4000`,
      // From outside there is no hairpin.
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`,
    ],
    go: [
      `tcp ${pod2}:4000 ${eip}:80 | ${pod}:80 ${pod2}:4000`,
      `tcp ${pod2}:4000 ${eip2}:80 | ${pod}:80 ${eip}:4000`,
      `tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${eip}:4000`,
    ],
  },
  {
    name: "the gateway's own traffic is not DNATed, and SNATed only where a CIDR covers it",
    program: { ...fip, snats: [[eip2, "10.0.1.0/24"]] },
    stay: [
      `tcp 203.0.113.254:4000 ${peer}:443`,
      `tcp 203.0.113.254:4000 ${eip}:80`,
      `tcp ${eip}:4000 ${peer}:443`,
      "tcp 127.0.0.1:4000 127.0.0.1:80",
      `tcp 10.0.1.254:4000 ${pod}:80`,
      `tcp 10.0.1.254:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`,
      // In OUTPUT only foreign rules translate.
      `tcp 203.0.113.254:4000 ${eip}:80 | ${pod2}:80 203.0.113.254:4000`,
    ],
    go: [`tcp 10.0.1.254:4000 ${peer}:80`],
  },
  {
    name: "plainly routed flows stay, those to a bare pod address too",
    program: { ...fip, snats: [[eip2, "10.0.1.0/24"]] },
    stay: [
      `tcp ${peer}:4000 ${pod}:80`,
      `tcp ${peer}:4000 ${pod2}:80`,
      `tcp ${pod2}:4000 10.0.9.9:80`,
      `tcp 192.0.2.9:4000 ${peer}:80`,
    ],
  },
  {
    name: "a SNAT of everything",
    program: { snats: [[eip, "0.0.0.0/0"]] },
    // The EIP's own traffic is translated to itself: a plain flow that contradicts nothing.
    stay: [`tcp ${eip}:4000 ${peer}:443`, `tcp ${peer}:4000 ${pod}:80`],
    go: [`tcp ${pod}:4000 ${peer}:80`, `tcp 203.0.113.254:4000 ${peer}:443`],
  },
  {
    name: "protocols without ports",
    program: fip,
    stay: [`gre ${peer} ${eip} | ${pod} ${peer}`],
    go: [`gre ${peer} ${eip}`],
  },
  {
    name: "expected and dying entries and other zones are left alone",
    program: fip,
    stay: [
      flow(`tcp ${peer}:4000 ${eip}:80`, { status: flowStatus.expected }),
      flow(`tcp ${peer}:4000 ${eip}:80`, { status: flowStatus.dying | 14 }),
      flow(`tcp ${peer}:4000 ${eip}:80`, { zone: 7 }),
    ],
    go: [flow(`tcp ${peer}:4000 ${eip}:80`, { status: 14 })],
  },
];

t.test("contradicts", async (t) => {
  for (const { name, program: sample = {}, retired = [], go = [], stay = [] } of cases) {
    const contradicts = compileContradicts({
      program: program(sample),
      retired: new Set(retired.map(ip)),
      network,
    });
    const judge = (entry: string | Flow) =>
      contradicts(viewOf(typeof entry === "string" ? flow(entry) : entry, ipv4));
    t.test(name, async (t) => {
      for (const entry of go) t.equal(judge(entry), true, `goes: ${JSON.stringify(entry)}`);
      for (const entry of stay) t.equal(judge(entry), false, `stays: ${JSON.stringify(entry)}`);
    });
  }
});

t.test("a flow without a route keeps its translation, and does not count as covered", async (t) => {
  const routes = network.routes.filter((known) => known.destination !== "0.0.0.0/0");
  const judge = (sample: SampleProgram, text: string) =>
    compileContradicts({ program: program(sample), retired: new Set(), network: { ...network, routes } })(
      viewOf(flow(text), ipv4),
    );
  t.equal(judge(snat, `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`), false);
  t.equal(judge(snat, `tcp ${pod}:4000 ${peer}:80`), false);
  t.equal(judge({ ...snat, defaultGateway: "203.0.113.1" }, `tcp ${pod}:4000 ${peer}:80`), true);
  t.equal(judge({ eips: [eip] }, `tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip}:4000`), true);
});

t.test("routing", async (t) => {
  const routes = [
    ...network.routes,
    { ...route("unicast", "172.16.0.0/12", "eth0"), metric: 20 },
    { ...route("unicast", "172.16.0.0/12", "net1"), metric: 10 },
    { ...route("unicast", "192.0.2.0/24", "eth0"), table: 100 },
    route("other", "100.64.0.0/10", "eth0"),
    { ...route("unicast", "100.128.0.0/10", "eth0"), interface: undefined },
    route("local", "198.18.0.0/15", "lo"),
  ];
  const sample = program({ eips: [eip], routes: [["10.0.9.0/24", "203.0.113.1", "net1"]] });
  const routing = runSync(compileRouting(sample, { ...network, routes }));
  const towards = (text: string) => routing.towards(toU32(ip(text)));
  const eth0 = routing.deviceOf(nic("eth0"));
  const net1 = routing.deviceOf(nic("net1"));
  t.not(eth0, net1);
  t.equal(towards("10.0.1.5"), eth0);
  t.equal(towards("8.8.8.8"), net1);
  t.equal(towards("10.0.8.1"), eth0);
  t.equal(towards("10.0.9.1"), net1, "the program's own route");
  t.equal(towards("172.16.1.1"), net1, "the lowest metric");
  t.equal(towards("192.0.2.1"), net1, "other tables do not count");
  t.equal(towards("100.64.0.1"), unrouted, "blackhole");
  t.equal(towards("100.128.0.1"), unrouted, "several next hops");
  for (const text of [
    eip,
    "127.9.9.9",
    "10.0.1.255",
    "239.1.1.1",
    "255.255.255.255",
    "0.0.0.0",
    "198.18.3.4",
  ]) {
    t.equal(towards(text), notUnicast, text);
  }
  for (const text of [eip, "127.9.9.9", "10.0.1.254", "198.18.3.4"]) {
    t.equal(routing.isLocal(toU32(ip(text))), true, text);
  }
  t.equal(routing.isLocal(toU32(ip("10.0.1.255"))), false);

  const empty = runSync(compileRouting(program({}), { ...network, addresses: [], routes: [] }));
  t.equal(empty.towards(toU32(ip("8.8.8.8"))), unrouted);
});

t.test("prefix table", async (t) => {
  const table = new PrefixTable<string>(ipv4);
  table.set(cidr("128.0.0.0/1"), "half");
  table.set(cidr("203.0.113.0/24"), "net");
  table.set(cidr("203.0.113.9/32"), "old");
  table.set(cidr("203.0.113.9/32"), "host");
  t.equal(table.longest(toU32(ip("203.0.113.9"))), "host");
  t.equal(table.longest(toU32(ip("203.0.113.8"))), "net");
  t.equal(table.longest(toU32(ip("203.0.112.8"))), "half");
  t.equal(table.longest(toU32(ip("127.0.0.1"))), undefined);
  table.set(cidr("0.0.0.0/0"), "all");
  t.equal(table.longest(toU32(ip("127.0.0.1"))), "all");
});

t.test("flows by their ends", async (t) => {
  const on = hasEndOf([...endsAt(ip(eip)), ...endsAt(ip(eip2))], ipv4);
  const matches = (entry: Flow) => on(viewOf(entry, ipv4));
  t.equal(matches(flow(`tcp ${peer}:4000 ${eip}:80 | ${pod}:80 ${peer}:4000`)), true);
  t.equal(matches(flow(`tcp ${pod}:4000 ${peer}:80 | ${peer}:80 ${eip2}:4000`)), true);
  t.equal(matches(flow(`icmp ${peer} ${eip}`)), true);
  t.equal(matches(flow(`tcp ${eip}:4000 ${peer}:443`)), true);
  t.equal(matches(flow(`tcp ${pod}:4000 ${peer}:80`)), false);
  t.equal(matches(flow(`icmp ${peer} ${eip}`, { status: flowStatus.dying })), false);
  t.equal(matches(flow(`icmp ${peer} ${eip}`, { zone: 1 })), false);
  t.equal(hasEndOf([], ipv4)(viewOf(flow(`icmp ${peer} ${eip}`), ipv4)), false);

  const entry = viewOf(flow(`tcp ${pod}:1 ${peer}:2 | ${eip}:3 ${eip2}:4`), ipv4);
  const places = { [pod]: "original source", [peer]: "original destination" };
  for (const [address, place] of Object.entries({
    ...places,
    [eip]: "reply source",
    [eip2]: "reply destination",
  })) {
    for (const tuple of ["original", "reply"] as const) {
      for (const side of ["source", "destination"] as const) {
        const has = hasEndOf([{ tuple, side, address: ip(address) }], ipv4)(entry);
        t.equal(has, place === `${tuple} ${side}`, `${address} as ${tuple} ${side}`);
      }
    }
  }
  const both = program({ fips: [[eip, pod]], dnats: [[`${eip2}:80/tcp`, "10.0.9.9:80"]] });
  t.strictSame(endsRuledBy([both, both]), [
    { tuple: "original", side: "destination", address: eip },
    { tuple: "original", side: "destination", address: eip2 },
    { tuple: "original", side: "source", address: pod },
  ]);
  t.strictSame(endsRuledBy([program({})]), []);
});

t.test("words", async (t) => {
  const entry = flow(`tcp ${peer}:4000 ${eip}:80 | ${pod}:8080 ${peer}:4000`);
  t.equal(
    renderFlow(entry),
    `tcp src=${peer} dst=${eip} sport=4000 dport=80 src=${pod} dst=${peer} sport=8080 dport=4000`,
  );
  const ping = flow(`icmp ${peer} ${eip} | ${pod} ${peer}`, { zone: 3, protocol: 1 });
  t.equal(renderFlow(ping), `icmp type=8 code=0 id=77 src=${peer} dst=${eip} src=${pod} dst=${peer} zone=3`);
  t.match(renderFlow({ ...entry, protocol: 50 }), /^proto=50 /);
  const plain = flow(`tcp ${peer}:4000 ${eip}:80`, { id: 9 });
  t.equal(flowKey(plain), flowKey(entry), "one tuple, whatever its NAT");
  for (const other of [
    { ...entry, zone: 1 },
    { ...entry, protocol: 17 },
    flow(`tcp ${peer}:4001 ${eip}:80`),
    ping,
    { ...ping, icmp: { type: 8, code: 0, id: 78 } },
  ]) {
    t.not(flowKey(other), flowKey(entry));
    t.not(flowKey({ ...ping, zone: 0 }), flowKey(other));
  }
});
