/** What an explanation says of single packets; test/netns/explain.test.ts compares it with real ones. */
import t from "tap";
import { flowStatus } from "../../../../lib/conntrack/flow.ts";
import type { ExplainCode, ExplainVerdict, Stage } from "../../../../lib/explain/explanation.ts";
import {
  explainSample,
  type Sample,
  sampleNat,
  sampleRoutes,
  sampleSet,
} from "../../../support/explain-lab/sample.ts";
import { device, toIp } from "../../../support/network-values.ts";
import { policyOf, templateOf } from "../../../support/policies.ts";

interface Row {
  readonly what: string;
  readonly sample?: Sample;
  readonly packet: string;
  readonly is: readonly [ExplainVerdict, ExplainCode];
  /** The packet as it leaves: `source > destination:port`. */
  readonly leaves?: string;
  /** A step that must be there, with what it must say. */
  readonly step?: readonly [Stage, RegExp];
}

const out = "10.0.1.6:1000 > 198.51.100.7:80";
const fipOut = "10.0.1.5:1000 > 198.51.100.7:80";
const fipIn = "198.51.100.7:1000 > 203.0.113.10:443";
const web = "198.51.100.7:1000 > 203.0.113.11:8080";
const without = (...chains: readonly string[]) => ({
  nat: { ...sampleNat, ...Object.fromEntries(chains.map((chain) => [chain, []])) },
});
const filter = (...rules: readonly string[]) => ({
  foreign: ["*filter", ":FORWARD ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ...rules, "COMMIT", ""].join("\n"),
});

/** @param match which packets conntrack does not see */
const untracked = (match: string) => ({
  foreign: `*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING ${match}-j CT --notrack\nCOMMIT\n`,
});

function udpFlow(
  original: readonly [string, number, string, number],
  reply: readonly [string, number, string, number],
) {
  const tuple = ([source, sourcePort, destination, destinationPort]: typeof original) => ({
    source: toIp(source),
    sourcePort,
    destination: toIp(destination),
    destinationPort,
  });
  return { protocol: 17, original: tuple(original), reply: tuple(reply), status: 0, zone: 0, id: 1 };
}

/** A translated flow with that status. */
const answered = (status: number) => ({
  ...udpFlow(["10.0.1.6", 1000, "198.51.100.7", 53], ["198.51.100.7", 53, "203.0.113.11", 2000]),
  status,
});
const onlyEstablished = {
  foreign: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n",
};

const webRule = "-d 203.0.113.11/32 -p tcp -m tcp --dport 8080";
const drawn = "-m statistic --mode random --probability 0.50000000000";
const twoBackends = {
  ...sampleNat,
  SHARED_DNAT: [
    `${webRule.replace(" -m tcp", ` ${drawn} -m tcp`)} -j DNAT --to-destination 10.0.1.6:80`,
    `${webRule} -j DNAT --to-destination 10.0.1.7:80`,
  ],
};

function policyRow(policy: string, packet: string, what: string, is: Row["is"]): readonly Row[] {
  return [
    { what: `an IPsec policy ${policy}: ${what}`, sample: { policies: [policyOf(policy)] }, packet, is },
  ];
}
const blocked = (policy: string, packet: string, what: string) =>
  policyRow(policy, packet, what, ["dropped", "ForeignRule"]);
const passing = (policy: string, packet: string, what: string) =>
  policyRow(policy, packet, what, ["delivered", "Translated"]);

const rows: readonly Row[] = [
  {
    what: "a FIP, outwards",
    packet: fipOut,
    is: ["delivered", "Translated"],
    leaves: "203.0.113.10 > 198.51.100.7:80",
    step: ["snat", /^fips\/fip .*-A EXCLUSIVE_SNAT -s 10.0.1.5\/32/],
  },
  {
    what: "an SNAT",
    packet: out,
    is: ["delivered", "Translated"],
    leaves: "203.0.113.11 > 198.51.100.7:80",
    step: ["snat", /^snats\/snat .*--random-fully/],
  },
  {
    what: "a FIP, inwards",
    packet: fipIn,
    is: ["delivered", "Translated"],
    leaves: "198.51.100.7 > 10.0.1.5:443",
    step: ["dnat", /^fips\/fip/],
  },
  {
    what: "a DNAT",
    packet: web,
    is: ["delivered", "Translated"],
    leaves: "198.51.100.7 > 10.0.1.6:80",
    step: ["dnat", /^dnats\/web/],
  },
  { what: "from anywhere", packet: "* > 203.0.113.11:8080", is: ["delivered", "Translated"] },
  {
    what: "a hairpin",
    packet: "10.0.1.6:1000 > 203.0.113.10:80",
    is: ["delivered", "Shadowed"],
    leaves: "203.0.113.10 > 10.0.1.5:80",
  },
  {
    what: "a hairpin without its rule",
    sample: without("HAIRPIN_SNAT"),
    packet: "10.0.1.6:1000 > 203.0.113.10:443",
    is: ["dropped", "NoSnat"],
    step: ["reverse", /answers past the gateway/],
  },
  {
    what: "the same from behind a router, which may lead the answer to the gateway",
    sample: without("HAIRPIN_SNAT"),
    packet: "10.0.2.6:1000 > 203.0.113.10:443",
    is: ["unknown", "NoSnat"],
    step: ["reverse", /may answer past the gateway/],
  },
  {
    what: "between hosts of the VPC, of which one is in the gateway's subnet",
    packet: "10.0.1.6:1000 > 10.0.2.6:80",
    is: ["delivered", "NoSnat"],
    step: ["reverse", /answers past the gateway/],
  },
  {
    what: "a DNAT beside a FIP",
    packet: "198.51.100.7:1000 > 203.0.113.10:80",
    is: ["delivered", "Shadowed"],
    leaves: "198.51.100.7 > 10.0.1.5:80",
    step: ["dnat", /dnats\/vain gets none/],
  },
  {
    what: "an EIP without a rule for the port",
    packet: "198.51.100.7:1000 > 203.0.113.11:22",
    is: ["local", "Local"],
  },
  {
    what: "an EIP whose SNATs are on standby",
    sample: {
      set: {
        ...sampleSet,
        snats: [...(sampleSet.snats ?? []), { name: "second", eip: "eip-12", internalCIDR: "10.0.1.9/32" }],
      },
      reasons: { "snats/second": "Standby" },
    },
    packet: "198.51.100.7:1000 > 203.0.113.12:22",
    is: ["local", "Standby"],
  },
  { what: "the gateway's own address", packet: "10.0.1.5:1 > 10.0.1.254:22", is: ["local", "Local"] },
  { what: "what the gateway sends", packet: "203.0.113.254:1 > 198.51.100.7:80", is: ["local", "Local"] },
  {
    what: "no SNAT for a client",
    packet: "10.0.2.7:1000 > 198.51.100.7:80",
    is: ["delivered", "NoSnat"],
    leaves: "10.0.2.7 > 198.51.100.7:80",
  },
  {
    what: "a flushed chain",
    sample: without("SHARED_SNAT"),
    packet: out,
    is: ["delivered", "NoSnat"],
    step: ["snat", /^snats\/snat has no rule|snats\/snat/],
  },
  {
    what: "a flushed built-in chain",
    sample: without("POSTROUTING"),
    packet: fipOut,
    is: ["delivered", "NoSnat"],
  },
  {
    what: "a closed gate",
    sample: { ...without("SHARED_SNAT"), isGateClosed: true },
    packet: out,
    is: ["dropped", "GateClosed"],
  },
  {
    what: "a closed gate, and its rule",
    sample: { isGateClosed: true },
    packet: out,
    is: ["delivered", "Translated"],
    step: ["gate", /closed/],
  },
  {
    what: "a refused object",
    sample: { ...without("SHARED_SNAT"), reasons: { "snats/snat": "Quarantined" } },
    packet: out,
    is: ["delivered", "Quarantined"],
  },
  {
    what: "a refused DNAT",
    sample: { ...without("SHARED_DNAT"), reasons: { "dnats/web": "Quarantined" } },
    packet: web,
    is: ["local", "Quarantined"],
  },
  {
    what: "a user of an EIP in conflict",
    sample: {
      ...without("SHARED_SNAT"),
      reasons: { "snats/snat": "EipNotReady", "eips/eip-11": "AddressConflict" },
    },
    packet: out,
    is: ["delivered", "AddressConflict"],
  },
  {
    what: "an EIP in conflict that is not held",
    sample: {
      addresses: ["eth0 10.0.1.254/24", "net1 203.0.113.254/24"],
      reasons: { "eips/eip-10": "AddressConflict" },
    },
    packet: fipIn,
    is: ["dropped", "AddressConflict"],
  },
  {
    what: "an EIP in conflict that is held",
    sample: { reasons: { "eips/eip-10": "AddressConflict" } },
    packet: fipIn,
    is: ["unknown", "AddressConflict"],
  },
  {
    what: "an EIP that is gone, inwards",
    sample: { addresses: ["eth0 10.0.1.254/24", "net1 203.0.113.254/24"] },
    packet: fipIn,
    is: ["dropped", "EipNotReady"],
    step: ["address", /eips\/eip-10.*not held/],
  },
  {
    what: "an EIP that is gone, outwards",
    sample: { addresses: ["eth0 10.0.1.254/24", "net1 203.0.113.254/24"] },
    packet: fipOut,
    is: ["dropped", "EipNotReady"],
    step: ["reverse", /not held/],
  },
  {
    what: "ARP is off",
    sample: { links: [{ name: "net1" as never, isNoArp: true }] },
    packet: fipIn,
    is: ["dropped", "EipNotReady"],
  },
  {
    what: "arp_ignore",
    sample: { sysctls: { "net.ipv4.conf.net1.arp_ignore": 8 } },
    packet: fipIn,
    is: ["dropped", "EipNotReady"],
  },
  {
    what: "arp_ignore for addresses of the interface",
    sample: { sysctls: { "net.ipv4.conf.all.arp_ignore": 1 } },
    packet: fipIn,
    is: ["delivered", "Translated"],
  },
  {
    what: "no default route",
    sample: { routes: sampleRoutes.slice(1) },
    packet: out,
    is: ["dropped", "NoRoute"],
  },
  {
    what: "no way back",
    sample: { routes: sampleRoutes.slice(1) },
    packet: fipIn,
    is: ["dropped", "NoRoute"],
    step: ["reverse", /no route leads to 198.51.100.7/],
  },
  {
    what: "a blackhole",
    sample: { routes: [...sampleRoutes, "blackhole 10.0.1.5/32"] },
    packet: fipIn,
    is: ["dropped", "NoRoute"],
    step: ["route", /blackhole 10.0.1.5\/32/],
  },
  {
    what: "an internal IP on the wrong side",
    sample: { routes: [...sampleRoutes, "10.0.1.6/32 dev net1"] },
    packet: web,
    is: ["dropped", "NoRoute"],
    step: ["route", /not reached through eth0/],
  },
  ...(["10.0.1.6", "10.0.1.7"] as const).map(
    (unreached): Row => ({
      what: `one of two backends on the wrong side: ${unreached}`,
      sample: { nat: twoBackends, routes: [...sampleRoutes, `${unreached}/32 dev net1`] },
      packet: web,
      is: ["unknown", "NoRoute"],
      step: ["route", new RegExp(`with 1 of the 2 backends, such as ${unreached}: `)],
    }),
  ),
  {
    what: "both backends on the wrong side",
    sample: {
      nat: twoBackends,
      routes: [...sampleRoutes, "10.0.1.6/32 dev net1", "10.0.1.7/32 dev net1"],
    },
    packet: web,
    is: ["dropped", "NoRoute"],
  },
  {
    what: "a silent next hop",
    sample: { silent: ["203.0.113.1"] },
    packet: out,
    is: ["dropped", "NoRoute"],
    step: ["route", /does not answer ARP/],
  },
  {
    what: "a link that is down",
    sample: { links: [{ name: "eth0" as never, isUp: false }] },
    packet: out,
    is: ["dropped", "NoRoute"],
  },
  {
    what: "a policy rule",
    sample: { policyRules: [{ source: "10.0.1.5/32" as never, text: "from 10.0.1.5 blackhole" }] },
    packet: fipOut,
    is: ["dropped", "NoRoute"],
    step: ["route", /by the rule from 10.0.1.5/],
  },
  {
    what: "a policy rule for the mark",
    sample: { policyRules: [{ hasMore: true, text: "from all fwmark 0x1/0x1 blackhole" }] },
    packet: out,
    is: ["dropped", "NoRoute"],
  },
  {
    what: "a policy rule for another mark",
    sample: { policyRules: [{ hasMore: true, text: "from all fwmark 0x2/0x2 blackhole" }] },
    packet: out,
    is: ["delivered", "Translated"],
  },
  {
    what: "forwarding is off",
    sample: { sysctls: { "net.ipv4.ip_forward": 0 } },
    packet: out,
    is: ["dropped", "ForwardingOff"],
  },
  {
    what: "forwarding is off on the way back",
    sample: { sysctls: { "net.ipv4.conf.net1.forwarding": 0 } },
    packet: out,
    is: ["dropped", "ForwardingOff"],
    step: ["reverse", /forwards nothing/],
  },
  {
    what: "a foreign rule",
    sample: filter("-A FORWARD -d 10.0.1.5/32 -j DROP"),
    packet: fipIn,
    is: ["dropped", "ForeignRule"],
    step: ["foreign", /iptables-nft -t filter -A FORWARD -d 10.0.1.5\/32 -j DROP/],
  },
  {
    what: "a foreign rule for another port",
    sample: filter("-A FORWARD -p tcp -m tcp --dport 22 -j DROP"),
    packet: fipIn,
    is: ["delivered", "Translated"],
  },
  {
    what: "a foreign rule for answers",
    sample: filter("-A FORWARD -s 10.0.1.5/32 -m conntrack --ctstate ESTABLISHED -j DROP"),
    packet: fipIn,
    is: ["dropped", "ForeignRule"],
    step: ["reverse", /dropped/],
  },
  ...(["10.0.1.6", "10.0.1.7"] as const).flatMap((stopped): Row[] => [
    {
      what: `a foreign rule for one of two backends: ${stopped}`,
      sample: { nat: twoBackends, ...filter(`-A FORWARD -d ${stopped}/32 -j DROP`) },
      packet: web,
      is: ["unknown", "ForeignRule"],
      step: ["foreign", new RegExp(`with 1 of the 2 backends, such as ${stopped}: it is dropped`)],
    },
    {
      what: `a foreign rule for the answers of one of two backends: ${stopped}`,
      sample: { nat: twoBackends, ...filter(`-A FORWARD -s ${stopped}/32 -j DROP`) },
      packet: web,
      is: ["unknown", "ForeignRule"],
      step: [
        "reverse",
        new RegExp(`with 1 of the 2 backends, such as ${stopped}: the answer: it is dropped`),
      ],
    },
  ]),
  {
    what: "a foreign policy",
    sample: { foreign: "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i eth0 -j ACCEPT\nCOMMIT\n" },
    packet: fipIn,
    is: ["dropped", "ForeignRule"],
  },
  {
    what: "a foreign rule to the gateway",
    sample: filter("-A INPUT -p tcp -j DROP"),
    packet: "10.0.1.5:1 > 10.0.1.254:22",
    is: ["dropped", "ForeignRule"],
  },
  ...blocked("fwd 0.0.0.0/0 > 203.0.113.11/32", web, "before DNAT"),
  ...passing("fwd 0.0.0.0/0 > 10.0.1.6/32", web, "after DNAT"),
  ...blocked("out 0.0.0.0/0 > 10.0.1.6/32", web, "after DNAT"),
  ...blocked("out 203.0.113.11/32 > 0.0.0.0/0", out, "after SNAT"),
  ...passing("fwd 203.0.113.11/32 > 0.0.0.0/0", out, "after SNAT"),
  ...blocked("fwd 198.51.100.0/24 > 203.0.113.11/32", out, "its answer, as received"),
  ...passing("fwd 198.51.100.0/24 > 10.0.1.6/32", out, "its answer, as sent on"),
  ...blocked("in 0.0.0.0/0 > 10.0.1.254/32", "10.0.1.5:1 > 10.0.1.254:22", "to the gateway"),
  ...passing("in 0.0.0.0/0 > 0.0.0.0/0", web, "what the gateway gets"),
  {
    what: "an IPsec policy that wants a tunnel, which SNAT may undo",
    sample: {
      policies: [policyOf("out 10.0.1.0/24 > 0.0.0.0/0", { action: "allow", templates: [templateOf()] })],
    },
    packet: out,
    is: ["delivered", "Translated"],
  },
  {
    what: "an IPsec policy that wants a tunnel",
    sample: {
      policies: [policyOf("out 203.0.113.0/24 > 0.0.0.0/0", { action: "allow", templates: [templateOf()] })],
    },
    packet: out,
    is: ["dropped", "ForeignRule"],
    step: ["foreign", /ip xfrm policy out: src 203\.0\.113\.0\/24 .* mode tunnel/],
  },
  {
    what: "a foreign translation ahead",
    sample: { nat: { ...sampleNat, POSTROUTING: ["-o net1 -j MASQUERADE", "-j SNAT_FILTER"] } },
    packet: out,
    is: ["delivered", "ForeignRule"],
    leaves: "203.0.113.254 > 198.51.100.7:80",
  },
  {
    what: "a foreign translation behind",
    sample: { nat: { ...sampleNat, POSTROUTING: ["-j SNAT_FILTER", "-o net1 -j MASQUERADE"] } },
    packet: out,
    is: ["delivered", "Translated"],
    leaves: "203.0.113.11 > 198.51.100.7:80",
  },
  {
    what: "a foreign rule that skips ours",
    sample: { nat: { ...sampleNat, POSTROUTING: ["-d 198.51.100.0/24 -j ACCEPT", "-j SNAT_FILTER"] } },
    packet: out,
    is: ["delivered", "NoSnat"],
  },
  {
    what: "a foreign DNAT",
    sample: {
      nat: {
        ...sampleNat,
        PREROUTING: [
          "-d 203.0.113.11/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.5:81",
          "-j DNAT_FILTER",
        ],
      },
    },
    packet: web,
    is: ["delivered", "ForeignRule"],
    leaves: "198.51.100.7 > 10.0.1.5:81",
  },
  {
    what: "nothing is tracked",
    sample: untracked(""),
    packet: out,
    is: ["delivered", "ForeignRule"],
    leaves: "10.0.1.6 > 198.51.100.7:80",
  },
  {
    what: "nothing is tracked any more, beside a translated flow",
    sample: {
      ...untracked("-i eth0 "),
      flows: [answered(0)],
    },
    packet: "10.0.1.6:1000 > 198.51.100.7:53 udp",
    is: ["unknown", "ForeignRule"],
  },
  {
    what: "only packets from outside are not tracked: conntrack calls the answer INVALID, and the guard drops it",
    sample: untracked("-i net1 "),
    packet: "203.0.113.1:1000 > 10.0.1.5:80",
    is: ["dropped", "Invalid"],
    step: ["reverse", /conntrack calls it INVALID/],
  },
  {
    what: "the same from a host that no object translates",
    sample: untracked("-i net1 "),
    packet: "203.0.113.1:1000 > 10.0.2.5:80",
    is: ["delivered", "ForeignRule"],
  },
  {
    what: "the same by UDP: the answer starts a flow of its own",
    sample: untracked("-i net1 "),
    packet: "203.0.113.1:1000 > 10.0.1.5:53 udp",
    is: ["dropped", "NoRoute"],
    step: ["reverse", /leaves from 203\.0\.113\.10, not from 10\.0\.1\.5/],
  },
  {
    what: "only answers are not tracked",
    sample: untracked("-i eth0 "),
    packet: web,
    is: ["dropped", "ForeignRule"],
    step: ["reverse", /nothing undoes the translation/],
  },
  {
    what: "an EIP that is gone, from the VPC",
    sample: { addresses: ["eth0 10.0.1.254/24", "net1 203.0.113.254/24"] },
    packet: "10.0.1.6:1000 > 203.0.113.12:80",
    is: ["dropped", "EipNotReady"],
  },
  {
    what: "a client behind a Route whose interface is down",
    sample: {
      set: { ...sampleSet, routes: [{ name: "r", destination: "10.9.0.0/16", via: "10.0.1.1" }] },
      links: [{ name: device("eth0"), isUp: false }],
      routes: sampleRoutes.slice(0, 1),
    },
    packet: "10.9.0.1:1000 > 198.51.100.7:80",
    is: ["dropped", "NoRoute"],
  },
  {
    what: "a strict filter",
    sample: { routes: sampleRoutes.slice(1), sysctls: { "net.ipv4.conf.all.rp_filter": 1 } },
    packet: fipIn,
    is: ["dropped", "Invalid"],
    step: ["route", /rp_filter=1/],
  },
  { what: "a broadcast", packet: "10.0.1.5:1 > 203.0.113.255:53 udp", is: ["dropped", "Invalid"] },
  {
    what: "a subnet's first address",
    packet: "10.0.1.5:1 > 203.0.113.0:53 udp",
    is: ["delivered", "Translated"],
  },
  {
    what: "a stale flow",
    sample: {
      flows: [udpFlow(["10.0.1.6", 1000, "198.51.100.7", 53], ["198.51.100.7", 53, "10.0.1.6", 1000])],
    },
    packet: "10.0.1.6:1000 > 198.51.100.7:53 udp",
    is: ["delivered", "StaleFlow"],
    leaves: "10.0.1.6 > 198.51.100.7:53",
  },
  {
    what: "a flow whose rule is gone",
    sample: {
      ...without("SHARED_SNAT"),
      flows: [udpFlow(["10.0.1.6", 1000, "198.51.100.7", 53], ["198.51.100.7", 53, "203.0.113.11", 2000])],
    },
    packet: "10.0.1.6:1000 > 198.51.100.7:53 udp",
    is: ["delivered", "Translated"],
    leaves: "203.0.113.11 > 198.51.100.7:53",
  },
  {
    what: "the other direction of a flow",
    sample: {
      flows: [udpFlow(["10.0.1.6", 1000, "198.51.100.7", 53], ["198.51.100.7", 53, "203.0.113.11", 2000])],
    },
    packet: "198.51.100.7:53 > 203.0.113.11:2000 udp",
    is: ["delivered", "Translated"],
    leaves: "198.51.100.7 > 10.0.1.6:1000",
  },
  {
    what: "a flow without an answer is new to a firewall",
    sample: { ...onlyEstablished, flows: [answered(0)] },
    packet: "10.0.1.6:1000 > 198.51.100.7:53 udp",
    is: ["dropped", "ForeignRule"],
  },
  {
    what: "a flow with answers is established",
    sample: { ...onlyEstablished, flows: [answered(flowStatus.seenReply)] },
    packet: "10.0.1.6:1000 > 198.51.100.7:53 udp",
    is: ["delivered", "Translated"],
    leaves: "203.0.113.11 > 198.51.100.7:53",
  },
  {
    what: "flows of other ports",
    sample: {
      flows: [udpFlow(["10.0.1.6", 1000, "198.51.100.7", 53], ["198.51.100.7", 53, "10.0.1.6", 1000])],
    },
    packet: "10.0.1.6 > 198.51.100.7:53 udp",
    is: ["delivered", "Translated"],
    step: ["flow", /^1 flow of other source ports keeps its .* no object permits/],
  },
];

for (const { what, sample = {}, packet, is, leaves, step } of rows) {
  t.test(what, async (t) => {
    const { verdict, code, translated, steps, reverse } = await explainSample(sample, packet);
    t.same([verdict, code], is, JSON.stringify(steps, undefined, 1));
    if (leaves !== undefined)
      t.equal(`${translated?.source} > ${translated?.destination}:${translated?.destinationPort}`, leaves);
    if (verdict === "delivered") t.equal(reverse?.source, translated?.destination, "the answer");
    if (step !== undefined) {
      const [stage, text] = step;
      const found = steps.filter((one) => one.stage === stage);
      t.match(
        found.map(({ object = "", rule = "", detail }) => `${object} ${rule} ${detail}`.trim()).join("\n"),
        text,
      );
    }
  });
}

t.test("all ports towards a destination are in use", async (t) => {
  const flows = Array.from({ length: 64_512 }, (_, at) =>
    udpFlow(["10.0.1.6", 1, "198.51.100.7", 53], ["198.51.100.7", 53, "203.0.113.11", 1_024 + at]),
  );
  const { verdict, code, steps } = await explainSample({ flows }, "10.0.1.7:2000 > 198.51.100.7:53 udp");
  t.same([verdict, code], ["dropped", "PortsExhausted"]);
  t.match(steps.find(({ stage }) => stage === "ports")?.detail, /^64512 of 64512 ports of 203\.0\.113\.11/);
  const other = await explainSample({ flows }, "10.0.1.7:2000 > 198.51.100.8:53 udp");
  t.equal(other.code, "Translated", "towards another destination they are free");
});
