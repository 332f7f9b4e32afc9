/** Shared chains are made effective, and rules of others are named. */
import t from "tap";
import { parseSave } from "../../../../../lib/iptables/save.ts";
import { ipv4, parseIp } from "../../../../../lib/model/ipv4.ts";
import { parseInterfaceName } from "../../../../../lib/model/names.ts";
import type { Program } from "../../../../../lib/model/program.ts";
import type { Chain } from "../../../../../lib/netfilter/chain.ts";
import { parseIptablesChains } from "../../../../../lib/netfilter/iptables-chains.ts";
import { parseNftRules } from "../../../../../lib/netfilter/nft-rules.ts";
import { policyChains } from "../../../../../lib/netfilter/policy-chains.ts";
import type { XfrmPolicy } from "../../../../../lib/netlink/xfrm-policies.ts";
import { isOwnChain } from "../../../../../lib/plan/iptables/owned.ts";
import { createIptablesPlanner } from "../../../../../lib/plan/iptables/planner.ts";
import type { NetfilterObserved } from "../../../../../lib/plan/netfilter/observed.ts";
import { createNetfilterPlanner } from "../../../../../lib/plan/netfilter/planner.ts";
import type { KernelFacts, PlanInput } from "../../../../../lib/plan/plan-input.ts";
import type { NetfilterContext } from "../../../../../lib/plan/rules-planner.ts";
import { noDefaultBlocks, type PolicyParts, policyOf, templateOf } from "../../../../support/policies.ts";

const must = <T>(value: T | undefined): T => {
  if (value === undefined) throw new TypeError("a sample is not what it should be");
  return value;
};
const ip = (text: string) => must(parseIp(text));
const nic = (text: string) => must(parseInterfaceName(text));

const program: Program = {
  family: ipv4,
  vpcInterface: nic("eth0"),
  externalInterface: nic("net1"),
  defaultGateway: undefined,
  eips: [],
  fips: [{ id: "fips/f", eip: ip("203.0.113.10"), internalIp: ip("10.0.1.5"), isOutward: true }],
  dnats: [
    {
      id: "dnats/d",
      eip: ip("203.0.113.11"),
      protocol: "tcp",
      externalPort: 8080,
      backends: [{ ip: ip("10.0.1.6"), port: 80 }],
    },
  ],
  pools: [],
  routes: [],
};

const planner = createNetfilterPlanner();
const nothing: NetfilterObserved = { tables: [], chains: [], foreign: [] };

function judge(
  observed: Partial<NetfilterObserved>,
  netfilterContext: NetfilterContext = { shared: [], chains: [] },
  family = ipv4,
) {
  const facts = { netfilterContext } as KernelFacts;
  const seen = { ...nothing, ...observed };
  const plan = planner.plan({ program: { ...program, family }, facts } as PlanInput, seen);
  const { objects, kinds } = plan.obstacles();
  t.strictSame(
    planner.obstaclesTo?.({ ...program, family }, seen, facts),
    plan.obstacles(),
    "a part is judged alike",
  );
  return {
    steps: plan.steps.map(({ payload }) => payload),
    texts: plan.steps.flatMap(({ changes }) => changes.map(({ text }) => text)),
    objects: [...objects].map(([id, { reason, message }]) => `${id} ${reason}: ${message}`),
    kinds: [...kinds].map(([kind, { reason, message }]) => `${kind} ${reason}: ${message}`),
    notices: plan.notices.map(({ reason, message }) => `${reason}: ${message}`),
  };
}

t.test("shared chains", async (t) => {
  const empty = "*nat\nCOMMIT\n*mangle\nCOMMIT\n";
  const iptables = createIptablesPlanner(ipv4);
  const rules = parseSave(empty, ipv4);
  const netfilterContext = iptables.netfilterContext({ variant: "nft", rules, filterTables: undefined });
  t.same(
    iptables.netfilterContext({ variant: "legacy", rules, filterTables: undefined }).shared,
    [],
    "with legacy nobody can change them",
  );
  const chains: NetfilterObserved["chains"] = netfilterContext.shared.map(
    ({ table, name, hook, target }) => ({
      table,
      name,
      hook,
      targets: [target],
    }),
  );
  const but = (at: number, more: Partial<NetfilterObserved["chains"][number]>) => ({
    chains: chains.map((chain, index) => (index === at ? { ...chain, ...more } : chain)),
  });
  t.match(judge({ chains }, netfilterContext), { steps: [], kinds: [], notices: [] }, "as they are made");
  t.match(judge({ tables: [{ label: "ip nat", isDormant: true }], chains }, netfilterContext), {
    steps: ["add table ip nat\n"],
    kinds: [
      "fip Pending: table ip nat is dormant",
      "dnat Pending: table ip nat is dormant",
      "snat Pending: table ip nat is dormant",
    ],
    notices: [],
  });
  t.match(judge({ tables: [{ label: "ip other", isDormant: true }], chains }, netfilterContext), {
    steps: [],
  });
  const words = "chain ip nat PREROUTING is on no hook";
  t.match(judge(but(0, { hook: undefined }), netfilterContext), {
    steps: [
      "flush chain ip nat PREROUTING\ndelete chain ip nat PREROUTING\n" +
        "add chain ip nat PREROUTING { type nat hook prerouting priority -100; policy accept; }\n" +
        "add rule ip nat PREROUTING counter jump DNAT_FILTER\n",
    ],
    texts: ["add chain ip nat PREROUTING (is on no hook)"],
    kinds: [`fip Pending: ${words}`, `dnat Pending: ${words}`],
  });
  t.match(judge(but(0, { hook: undefined, targets: ["DNAT_FILTER", undefined] }), netfilterContext), {
    steps: [],
    kinds: [`fip ForeignRule: ${words}`, `dnat ForeignRule: ${words}`],
    notices: [`ForeignRule: ${words}, and has foreign rules`],
  });
  const postrouting = must(chains[1]?.hook);
  t.match(judge(but(1, { hook: { ...postrouting, policy: "drop" } }), netfilterContext).texts, [
    /has policy drop/,
  ]);
  t.match(judge(but(1, { hook: { ...postrouting, priority: 110 } }), netfilterContext).texts, [
    /has priority 110/,
  ]);
  t.match(judge(but(1, { hook: { ...postrouting, type: "filter" } }), netfilterContext).texts, [
    /is of type filter/,
  ]);
  t.match(judge(but(2, { hook: { ...postrouting } }), netfilterContext), {
    texts: [/is on the hook postrouting/],
    kinds: [],
  });
});

function foreign(table: string, ...lines: readonly string[]): Partial<NetfilterObserved> {
  return { foreign: parseIptablesChains([`*${table}`, ...lines].join("\n"), "iptables-nft", () => false) };
}

t.test("what follows the first packet, too", async (t) => {
  const established = "-m state --state ESTABLISHED -j DROP";
  const stopped = (interfaces: string) =>
    judge(foreign("filter", ":FORWARD ACCEPT [0:0]", `-A FORWARD ${interfaces} ${established}`)).objects.map(
      (line) => line.replace(/ .*/, ""),
    );
  t.same(stopped("-i net1"), ["fips/f", "dnats/d"], "in the direction of the first");
  t.same(stopped("-o net1"), ["fips/f", "dnats/d"], "answers");
});

t.test("rules that take away the mark of packets from the VPC", async (t) => {
  const found = (...lines: readonly string[]) =>
    judge(
      foreign(
        "mangle",
        ":PREROUTING ACCEPT [0:0]",
        ":FORWARD ACCEPT [0:0]",
        ":POSTROUTING ACCEPT [0:0]",
        ...lines,
      ),
    );
  const unmark = "-j MARK --set-xmark 0x0/0xffffffff";
  const late = found(`-A FORWARD ${unmark}`);
  t.same(late.objects, [], "what comes from outside works");
  t.match(late.notices, [
    / -A FORWARD -j MARK --set-xmark 0x0\/0xffffffff may unmark packets of the VPC, so that /,
  ]);
  t.same(found(`-A PREROUTING ${unmark}`).notices, [], "the agent marks them after that");
  t.equal(found("-A PREROUTING -j VPC_MARK", `-A PREROUTING ${unmark}`).notices.length, 1);
  t.same(found(`-A PREROUTING ${unmark}`, "-A PREROUTING -j VPC_MARK").notices, []);
  t.same(found(`-A FORWARD -i net1 ${unmark}`).notices, [], "other packets");
  t.same(found(`-A FORWARD -d 10.0.1.7/32 ${unmark}`).notices, [], "a part");
  t.same(found(`-A FORWARD -j MARK --set-xmark 0x10/0x10`).notices, []);
  t.equal(found(":A - [0:0]", "-A FORWARD -j A", `-A A ${unmark}`).notices.length, 1, "by another chain");
});

t.test("what was translated", async (t) => {
  const firewall = [
    ":FORWARD DROP [0:0]",
    "-A FORWARD -m state --state RELATED,ESTABLISHED -j ACCEPT",
    "-A FORWARD -i eth0 -j ACCEPT",
    "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT",
  ];
  t.match(judge(foreign("filter", ...firewall)), { objects: [], notices: [] }, "is accepted");
  t.match(judge(foreign("filter", ...firewall.slice(0, 3))).objects, [/^fips\/f/, /^dnats\/d/]);
  const drop = (what: string) =>
    judge(foreign("filter", ":FORWARD ACCEPT [0:0]", `-A FORWARD ${what} -j DROP`)).objects.map((line) =>
      line.replace(/ .*/, ""),
    );
  t.same(drop("-m conntrack --ctstate DNAT"), ["fips/f", "dnats/d"], "is dropped");
  t.same(drop("-m conntrack ! --ctstate DNAT"), ["fips/f"], "what pods begin is not translated yet");
  t.same(drop("-o net1 -m conntrack --ctstate DNAT"), ["dnats/d"], "answers");
});

t.test("rules of others", async (t) => {
  t.match(judge(foreign("filter", ":FORWARD DROP [0:0]")), {
    objects: [
      "fips/f ForeignRule: iptables-nft -t filter -P FORWARD DROP drops its packets",
      "dnats/d ForeignRule: iptables-nft -t filter -P FORWARD DROP drops its packets",
    ],
    notices: ["ForeignRule: iptables-nft -t filter -P FORWARD DROP drops packets of 2 objects"],
  });
  t.match(judge(foreign("filter", ":INPUT DROP [0:0]", ":OUTPUT DROP [0:0]")).notices, [], "not on the way");
  const raw = foreign(
    "raw",
    ":PREROUTING ACCEPT [0:0]",
    "-A PREROUTING -d 203.0.113.11/32 -p tcp --dport 8080 -j NOTRACK",
  );
  t.match(judge(raw).objects, [/^dnats\/d ForeignRule: .* does not track its packets$/]);
  const translated = foreign("filter", ":FORWARD ACCEPT [0:0]", "-A FORWARD -d 203.0.113.0/24 -j DROP");
  t.match(judge(translated), { objects: [], notices: [] }, "there they go to the VPC's side");
  const answers = foreign(
    "mangle",
    ":POSTROUTING ACCEPT [0:0]",
    "-A POSTROUTING -s 10.0.1.6/32 -p tcp --sport 80 -j DROP",
  );
  t.match(judge(answers).objects, [/^dnats\/d/], "answers count");
  const unclear = foreign("filter", ":FORWARD ACCEPT [0:0]", "-A FORWARD -m what -j DROP");
  t.match(judge(unclear), {
    objects: [],
    notices: ["ForeignRule: iptables-nft -t filter -A FORWARD -m what -j DROP may drop packets"],
  });
});

t.test(
  "a chain with the name of one of the agent's, where the agent has none, is another program's",
  async (t) => {
    const named = (tool: string, table: string, name: string) => {
      const lines = [`*${table}`, ":FORWARD ACCEPT [0:0]", `:${name} - [0:0]`, `-A FORWARD -j ${name}`];
      const text = [...lines, `-A ${name} -j DROP`].join("\n");
      return judge({ foreign: parseIptablesChains(text, tool, isOwnChain) }).objects.length > 0;
    };
    t.ok(named("iptables-nft", "filter", "SHARED_SNAT"));
    t.ok(named("iptables-legacy", "mangle", "SHARED_SNAT"));
    t.ok(named("iptables-nft", "filter", "NATGW_GATE"), "a table there");
    t.notOk(named("iptables-legacy", "filter", "NATGW_GATE"));
    t.notOk(named("iptables-nft", "mangle", "VPC_MARK"));
    t.ok(named("iptables-nft", "mangle", "VPC_MARKS"));
  },
);

t.test("the first object that translates a packet", async (t) => {
  const nat = (
    priority: number,
    name: "prerouting" | "postrouting",
    rule: string,
  ): Partial<NetfilterObserved> => {
    const [chain] = foreign("nat", ":PREROUTING ACCEPT [0:0]", `-A PREROUTING ${rule}`).foreign ?? [];
    const hook = { type: "nat", name, priority, policy: "accept", devices: [] } as const;
    return { foreign: [{ ...(chain as Chain), hook }] };
  };
  const dnat = "-d 203.0.113.10/32 -j DNAT --to-destination 10.0.9.9";
  t.match(judge(nat(-101, "prerouting", dnat)).objects, [/^fips\/f .* translates its packets/]);
  t.match(
    judge(nat(-100, "prerouting", dnat)),
    { objects: [], notices: [/may translate packets/] },
    "who knows",
  );
  t.match(judge(nat(-99, "prerouting", dnat)), { objects: [], notices: [] }, "the agent does");
  t.match(judge(nat(99, "postrouting", "-o net1 -j MASQUERADE")).objects, [/^fips\/f/]);
  t.match(judge(nat(101, "postrouting", "-o net1 -j MASQUERADE")).notices, []);
  t.match(judge(nat(99, "postrouting", "-o eth0 -j MASQUERADE")).notices, [], "hides the peer alone");
  t.match(
    judge(nat(-50, "prerouting", "-i eth0 -j REDIRECT")).objects,
    [/^fips\/f/],
    "what leaves goes elsewhere",
  );
});

t.test("DNATs in the table of backends are translated behind PREROUTING of iptables", async (t) => {
  const [dnat] = program.dnats;
  const listed: Program = {
    ...program,
    fips: [],
    dnats: dnat === undefined ? [] : [{ ...dnat, isList: true }],
  };
  const verdict = (rules: readonly string[], hasBackendsTable: boolean, priority = -100) => {
    const [chain] =
      foreign("nat", ":PREROUTING ACCEPT [0:0]", ...rules.map((rule) => `-A PREROUTING ${rule}`)).foreign ??
      [];
    const hook = { type: "nat", name: "prerouting", priority, policy: "accept", devices: [] } as const;
    const netfilterContext: NetfilterContext = {
      shared: [],
      chains: [{ ...(chain as Chain), hook }],
      hasBackendsTable,
    };
    const plan = planner.plan({ program: listed, facts: { netfilterContext } } as PlanInput, nothing);
    const [obstacle] = plan.obstacles().objects.values();
    return obstacle?.message ?? plan.notices[0]?.message ?? "fine";
  };
  const stolen = "-d 203.0.113.11/32 -j DNAT --to-destination 10.0.9.9";
  const own = "-j DNAT_FILTER";
  t.match(verdict(["-j ACCEPT", own], false), /skips/, "a rule of SHARED_DNAT is skipped");
  t.equal(verdict(["-j ACCEPT", own], true), "fine", "the table's chain is called all the same");
  t.equal(verdict(["-j RETURN", own], true), "fine");
  t.equal(verdict([own, stolen], false), "fine", "served before");
  t.match(verdict([own, stolen], true), /translates its packets/, "the table comes later");
  t.match(verdict([stolen], true, -99), /may translate/, "nobody knows who is first");
  t.equal(verdict([stolen], true, -98), "fine");
});

t.test("IPsec policies see addresses as received, and after translation", async (t) => {
  const judged = (...policies: readonly XfrmPolicy[]) =>
    judge({ foreign: policyChains({ policies, defaultBlocks: noDefaultBlocks }, () => undefined) });
  const stopped = (text: string, parts: PolicyParts = {}) =>
    judged(policyOf(text, parts)).objects.map((line) => line.replace(/ .*/, ""));
  t.match(judged(policyOf("fwd 0.0.0.0/0 > 0.0.0.0/0")), {
    objects: [/^fips\/f ForeignRule: ip xfrm policy fwd: src .* drops its packets$/, /^dnats\/d/],
    notices: [/ action block priority 0 drops packets of 2 objects$/],
  });
  const tcp = (side: "sourcePort" | "destinationPort", value: number): PolicyParts => ({
    protocol: 6,
    [side]: { value, mask: 0xffff },
  });
  t.same(stopped("fwd 0.0.0.0/0 > 203.0.113.10/32"), ["fips/f"], "before DNAT");
  t.same(stopped("fwd 0.0.0.0/0 > 10.0.1.5/32"), [], "not after");
  t.same(stopped("fwd 10.0.1.5/32 > 0.0.0.0/0"), ["fips/f"], "before SNAT");
  t.same(stopped("fwd 203.0.113.10/32 > 0.0.0.0/0"), [], "not after");
  t.same(stopped("out 0.0.0.0/0 > 203.0.113.10/32"), [], "not before DNAT");
  t.same(stopped("out 0.0.0.0/0 > 10.0.1.5/32"), ["fips/f"]);
  t.same(stopped("out 10.0.1.5/32 > 0.0.0.0/0"), ["fips/f"], "before SNAT");
  t.same(stopped("out 203.0.113.10/32 > 0.0.0.0/0"), ["fips/f"], "and after");
  t.same(stopped("fwd 0.0.0.0/0 > 203.0.113.11/32", tcp("destinationPort", 8080)), ["dnats/d"]);
  t.same(stopped("fwd 0.0.0.0/0 > 203.0.113.11/32", tcp("destinationPort", 80)), []);
  t.same(stopped("out 203.0.113.11/32 > 0.0.0.0/0", tcp("sourcePort", 8080)), ["dnats/d"]);
  t.same(stopped("out 10.0.1.6/32 > 0.0.0.0/0", tcp("sourcePort", 80)), ["dnats/d"]);
  t.same(stopped("in 0.0.0.0/0 > 0.0.0.0/0"), [], "what the gateway itself gets");
  const encrypted: PolicyParts = { action: "allow", templates: [templateOf()] };
  t.match(
    judged(policyOf("out 0.0.0.0/0 > 0.0.0.0/0", encrypted)).notices,
    [/^ForeignRule: ip xfrm policy out: \S.* mode tunnel takes packets of 2 objects$/],
    "named once, though it is asked twice",
  );
  t.match(
    judged(policyOf("out 10.0.1.5/32 > 0.0.0.0/0", encrypted)),
    { objects: [], notices: [/ may take packets$/] },
    "a look after SNAT finds none",
  );
  t.match(judged(policyOf("out 10.0.1.0/24 > 10.9.0.0/16", encrypted)).notices, [], "a tunnel to some peers");
});

t.test("ARP", async (t) => {
  const hook = { type: "filter", name: "input", priority: 0, policy: "drop", devices: [] } as const;
  const chain: Chain = { place: "nft arp other", name: "c", hook, rules: [] };
  t.match(judge({ foreign: [chain] }), { objects: [], notices: ["ForeignRule: nft arp other c drops ARP"] });
  const drops = (rules: readonly string[], policy: "accept" | "drop" = "accept") =>
    judge({
      foreign: [{ ...chain, hook: { ...hook, policy }, rules: rules.flatMap((rule) => parseNftRules(rule)) }],
    }).notices;
  const all = ["ForeignRule: nft arp other c drops ARP"];
  t.same(drops(["arp htype 1 arp hlen 6 arp plen 4 counter drop"]), all, "as arptables writes it");
  t.same(drops(['iifname "net1" drop']), all);
  t.same(drops(['iifname "net9" drop']), [], "of another interface");
  t.same(drops(["accept", "drop"], "drop"), []);
  t.same(drops(["arp daddr ip 203.0.113.10 counter drop"]), [
    "ForeignRule: nft arp other c: arp daddr ip 203.0.113.10 counter drop may drop ARP",
  ]);
  t.same(drops(["arp operation reply accept"], "drop"), ["ForeignRule: nft arp other c may drop ARP"]);
  const onDevice = (rule: string, device = "net1"): Chain => ({
    place: "nft netdev other",
    name: "c",
    hook: { ...hook, name: "ingress", policy: "accept", devices: [device] },
    rules: parseNftRules(rule),
  });
  t.same(judge({ foreign: [onDevice("ether type arp drop")] }).notices, [
    "ForeignRule: nft netdev other c drops ARP",
  ]);
  t.same(judge({ foreign: [onDevice("ether type arp drop", "net9")] }).notices, []);
  t.same(judge({ foreign: [onDevice("ether type arp accept")] }).notices, []);
  t.match(judge({ foreign: [onDevice("arp operation request drop")] }).notices, [/ may drop ARP$/]);
  const dropsAll = ["ForeignRule: nft netdev other c drops ARP"];
  for (const rule of [
    "ether type != ip drop",
    "meta protocol != { ip, ip6 } drop",
    "ether type { arp, ip6 } drop",
  ])
    t.same(judge({ foreign: [onDevice(rule)] }).notices, dropsAll, rule);
  for (const rule of ["ether type != { ip, arp } drop", "ether type ip6 drop", "ip daddr 192.0.2.1 drop"])
    t.same(judge({ foreign: [onDevice(rule)] }).notices, [], rule);
  const byPolicy = (...rules: readonly string[]) => {
    const chain = onDevice("");
    const hook = { ...must(chain.hook), policy: "drop" } as const;
    return judge({ foreign: [{ ...chain, hook, rules: rules.flatMap((rule) => parseNftRules(rule)) }] })
      .notices;
  };
  t.same(byPolicy("ether type ip accept"), dropsAll);
  t.same(byPolicy("ether type ip accept", "ether type arp accept"), []);
  t.same(byPolicy("ether type ip accept", "accept"), []);
});

t.test("for a family whose rules nobody parses nothing is found, and degraded says so", async (t) => {
  const foreign = parseIptablesChains("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", "iptables-nft", () => false);
  t.equal(judge({ foreign }).objects.length, 2);
  t.match(judge({ foreign }, undefined, { ...ipv4, name: "IPv9", hasRuleParser: false }), {
    objects: [],
    notices: ["ForeignRule: rules of other programs are not checked for IPv9"],
  });
});

t.test("with many rules, few objects are followed in one part", async (t) => {
  const [fip] = program.fips;
  const fips = Array.from({ length: 100 }, (_, at) => ({ ...must(fip), id: `fips/f${at}` as const }));
  const parts = (rules: number) => {
    const lines = Array.from(
      { length: rules },
      (_, at) => `-A FORWARD -s 172.16.${at >> 8}.${at & 255}/32 -j DROP`,
    );
    const observed = { ...nothing, ...foreign("filter", ":FORWARD ACCEPT [0:0]", ...lines) };
    const input = { program: { ...program, fips }, facts: { netfilterContext: undefined } };
    return [...must(planner.planChunked)(input as unknown as PlanInput, observed)].length;
  };
  t.ok(parts(10) < 20);
  t.ok(parts(10_000) > 20, "5 objects at once");
});
