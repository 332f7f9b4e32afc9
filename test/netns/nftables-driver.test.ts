/**
 * The nftables dataplane on a real kernel: this process moves into a gateway's namespace, and hosts around it send
 * traffic.
 */
import t, { type Test } from "tap";
import { openCommitJournal } from "../../agent/kernel/commit-journal.ts";
import { type ConversingConnection, openNetlink } from "../../agent/kernel/netlink/connection.ts";
import { openNetlinkSocket } from "../../agent/kernel/netlink/socket.ts";
import { readTable, visitElements } from "../../agent/kernel/nftables/read.ts";
import { createRun } from "../../agent/kernel/run.ts";
import { type Ip, prefixLengthOf } from "../../lib/model/ip.ts";
import { contains, fromU32, ipv4, makeCidr } from "../../lib/model/ipv4.ts";
import { objectId } from "../../lib/model/names.ts";
import { bucketsOf, type PoolMember, type Program, type SnatPool } from "../../lib/model/program.ts";
import { forEachElement } from "../../lib/nftables/decode-elements.ts";
import { definitionLines } from "../../lib/nftables/definition-lines.ts";
import { encodeGet } from "../../lib/nftables/encode-elements.ts";
import type { MapName } from "../../lib/nftables/maps.ts";
import { messageType } from "../../lib/nftables/wire.ts";
import type { GateState } from "../../lib/plan/gate-state.ts";
import type { ObservedTable } from "../../lib/plan/nftables/compare.ts";
import { countersByObject } from "../../lib/plan/nftables/counters.ts";
import { wantedTable } from "../../lib/plan/nftables/layout.ts";
import type { NftablesPayload } from "../../lib/plan/nftables/payload.ts";
import type { RulesPlan } from "../../lib/plan/rules-planner.ts";
import { emptyProgram, iface, ip } from "../property/lib/plan/iptables/programs.ts";
import { enterNamespace } from "../support/enter-namespace.ts";
import { Host } from "../support/host.ts";
import { Lab, labAddresses, podAddress } from "../support/lab.ts";
import { sweep, testName } from "../support/namespaces.ts";
import { nftablesRules } from "../support/rules.ts";
import { run } from "../support/run.ts";
import { outsideTcp, outsideUdp, tcp, udp } from "../support/targets.ts";

const signal = new AbortController().signal;

await sweep();
const lab = new Lab(testName("nft"));
await lab.up();
const leave = enterNamespace(lab.namespaceOf("gw"));
await lab.ip("gw", ...[10, 11, 12, 13, 14].map((host) => `address add 203.0.113.${host}/24 dev net1`));
await lab.ip("pod1", ...Array.from({ length: 20 }, (_, at) => `address add 10.0.1.${100 + at}/24 dev eth0`));
await run("sysctl", ["-qw", "net.ipv4.ip_forward=1"]);
const [outside, pod1, pod2] = [new Host(lab, "outside"), new Host(lab, "pod1"), new Host(lab, "pod2")];
for (const host of [outside, pod1, pod2]) {
  await host.serve("tcp", 80, 81);
  await host.serve("udp", 53);
}
t.teardown(async () => {
  netlink.close();
  journal.close();
  await Promise.all([outside, pod1, pod2].map((host) => host.stop()));
  leave();
  await lab.down();
});

/** The elements of a reading, whichever kind of map holds them. */
const asPlainMaps = (table: ObservedTable | undefined) =>
  table && {
    ...table,
    elements: Object.fromEntries(Object.entries(table.elements).map(([name, map]) => [name, new Map(map)])),
  };

/** System calls on the dataplane's socket, and started processes. */
const cost = { sends: 0, receives: 0, forks: 0 };

const netlink = openNetlink(12, {
  open: (protocol) => {
    const socket = openNetlinkSocket(protocol, { sendBufferBytes: 64 << 20 });
    return {
      ...socket,
      send: (bytes) => {
        cost.sends++;
        return socket.send(bytes);
      },
      receive: (buffer) => {
        cost.receives++;
        return socket.receive(buffer);
      },
    };
  },
});
const forks = createRun({ onStart: () => cost.forks++ });
const journal = openCommitJournal();
const dataplane = nftablesRules({ netlink, run: forks, journal });

/** Runs nft like an operator. */
async function nft(input: string): Promise<string> {
  return run("nft", ["-f", "-"], { input });
}

/** @returns the changes, without those of the guard's elements, which test/netns/filter-tables.test.ts checks */
async function converge(program: Program, gate: GateState = "open"): Promise<readonly string[]> {
  const plan = dataplane.plan(program, await dataplane.observe(signal), gate);
  await dataplane.apply(plan, signal);
  await expectConverged(program, gate);
  return plan.changes
    .filter(({ text }) => !text.startsWith("ip natgw_guard"))
    .map(({ action, text }) => `${action} ${text}`);
}

/** Reads with the cache, and without a cache. */
async function expectConverged(program: Program, gate: GateState = "open"): Promise<void> {
  const stranger = nftablesRules({ netlink, run: forks });
  for (const reader of [dataplane, stranger]) {
    const observed = await reader.observe(signal);
    const { changes } = reader.plan(program, observed, gate);
    if (changes.length > 0) throw new Error(`not converged: ${JSON.stringify(changes)}`);
    const missing = reader.planner.missing(program, observed);
    if (missing.size > 0) throw new Error(`missing: ${JSON.stringify([...missing])}`);
  }
}

const eip = (host: number) => ({
  id: objectId("eip", `e${host}`),
  address: ip(`203.0.113.${host}`),
  prefixLength: 24,
  interface: iface("net1"),
});
const fip = (host: number, internal: string) => ({
  id: objectId("fip", `f${host}`),
  eip: ip(`203.0.113.${host}`),
  internalIp: ip(internal),
  isOutward: true,
});
const member = (host: number, mapping: "random" | "preserve" = "random"): PoolMember => ({
  id: objectId("snat", `s${host}`),
  eip: ip(`203.0.113.${host}`),
  mapping,
});
const pool = (
  address: string,
  length: number,
  first: PoolMember,
  ...rest: readonly PoolMember[]
): SnatPool => ({
  cidr: makeCidr(ip(address), length),
  interface: iface("net1"),
  members: [first, ...rest],
});
const dnat = (name: string, protocol: "tcp" | "udp", externalPort: number, ...hosts: readonly string[]) => {
  const backends = hosts.map((host) => ({ ip: ip(host), port: protocol === "tcp" ? 80 : 53 }));
  const [first, ...rest] = backends;
  if (first === undefined) throw new Error("no backend");
  const id = objectId("dnat", name);
  return { id, eip: ip("203.0.113.11"), protocol, externalPort, backends: [first, ...rest] } as const;
};

const [pod1Ip, pod2Ip] = [podAddress(1), podAddress(2)];
const full: Program = {
  ...emptyProgram,
  eips: [10, 11, 12, 13, 14].map(eip),
  fips: [fip(10, pod1Ip)],
  dnats: [dnat("web", "tcp", 8080, pod2Ip), dnat("dns", "udp", 5353, pod1Ip, pod2Ip)],
  pools: [
    pool("10.0.1.112", 30, member(14, "preserve"), member(12)),
    pool("10.0.1.0", 24, member(12), member(13), member(14, "preserve")),
    pool("0.0.0.0", 0, member(14)),
  ],
};

t.test("a fresh namespace is pristine; the gate closes and opens; the guard stays", async (t) => {
  const fresh = await dataplane.observe(signal);
  t.ok(dataplane.planner.isPristine(fresh));
  t.notOk(dataplane.planner.holdsObjects(fresh));
  t.notOk(dataplane.planner.isGateClosed(fresh));
  const changes = await converge(emptyProgram, "closed");
  t.match(changes, [/guard/, /gate/, "add table ip natgw"]);
  const closed = await dataplane.observe(signal);
  t.ok(dataplane.planner.isGateClosed(closed));
  t.notOk(dataplane.planner.isPristine(closed));
  t.notOk(dataplane.planner.holdsObjects(closed));
  t.ok(await pod2.hearsNothing(outsideTcp), "the gate holds back");
  const opened = await converge(emptyProgram, "open");
  t.equal(opened.length, 1);
  t.ok(await run("nft", ["list", "table", "ip", "natgw_guard"]));
});

t.test("the rules equal those that nft creates from the text", async (t) => {
  const words = `
    table ip natgw {
      map fip_in { type ipv4_addr : ipv4_addr; counter; }
      map fip_out { type ipv4_addr : ipv4_addr; counter; }
      map dnat_1 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; counter; }
      map snat_r { type ipv4_addr . ipv4_addr : ipv4_addr; flags interval; counter; }
      map snat_p { type ipv4_addr . ipv4_addr : ipv4_addr; flags interval; counter; }
      map hairpin { type ipv4_addr : ipv4_addr; counter; }
      chain vpc_mark { type filter hook prerouting priority mangle;
        iifname "eth0" meta mark set meta mark | 0x1
      }
      chain pre { type nat hook prerouting priority dstnat;
        dnat ip to ip daddr map @fip_in
        dnat ip to ip daddr . meta l4proto . th dport map @dnat_1
      }
      chain post { type nat hook postrouting priority srcnat;
        snat ip to ip saddr map @fip_out
        oifname "net1" snat ip to ip saddr . (ip saddr & 0.0.0.15) map @snat_r fully-random
        oifname "net1" snat ip to ip saddr . (ip saddr & 0.0.0.15) map @snat_p
        oifname "net2" snat ip to ip saddr . ((ip saddr & 0.0.0.31) ^ 0.1.0.0) map @snat_r fully-random
        oifname "net2" snat ip to ip saddr . ((ip saddr & 0.0.0.31) ^ 0.1.0.0) map @snat_p
        oifname "eth0" meta mark & 0x1 == 0x1 ct status dnat snat ip to ct original ip daddr map @hairpin fully-random
      }
    }`;
  await nft(`delete table ip natgw\n${words}`);
  const { table } = await readTable(netlink, signal);
  const wanted = definitionLines({
    vpcInterface: iface("eth0"),
    lookups: [
      { interface: iface("net1"), buckets: 16 },
      { interface: iface("net2"), buckets: 32 },
    ],
    backendCounts: [],
    stickyCounts: [],
  });
  const ours = wanted.filter((line) => !/646e61745f6e00/.test(line) && !line.startsWith("table"));
  t.same(
    table.definition?.filter((line) => !line.startsWith("table")),
    ours,
    "all but the table's own count and what is about dnat_n, which nft cannot put in words",
  );
  const listing = await run("nft", ["list", "table", "ip", "natgw"]);
  t.match(listing, /snat to ip saddr map @fip_out/);
  t.same(
    await converge(emptyProgram),
    ["replace table ip natgw"],
    "which is not the same definition: it goes",
  );
});

t.test("an empty table gets the whole program, and traffic matches it", async (t) => {
  const changes = await converge(full);
  t.equal(
    changes.length,
    1 + 5 + 2 + 1 + 2 + 4 + 2 * 16 + 2,
    "the definition that draws one of two, EIPs, FIP, services, the pools' networks cut in five",
  );
  t.ok(changes.includes("add ip natgw fip_in { 203.0.113.10 : 10.0.1.5 }"));
  t.ok(changes.includes("add ip natgw dnat_n { 203.0.113.11 . udp . 5353 . 0x00020000 : 10.0.1.5 . 53 }"));
  const observed = await dataplane.observe(signal);
  t.same([...dataplane.planner.eipsNamed(observed)].sort(), full.eips.map(({ address }) => address).sort());
  t.equal(dataplane.planner.countRules(observed), changes.length - 1 + 8);

  const asked = [
    [outside, tcp("203.0.113.10"), "pod1", labAddresses.outside],
    [outside, udp("203.0.113.10"), "pod1", labAddresses.outside],
    [outside, tcp("203.0.113.11", 8080), "pod2", labAddresses.outside],
    [pod1, outsideTcp, "outside", "203.0.113.10"],
    [pod1, outsideUdp, "outside", "203.0.113.10"],
    [pod2, tcp("203.0.113.10"), "pod1", "203.0.113.10"],
    [pod2, tcp("203.0.113.11", 8080), "pod2", "203.0.113.11"],
    [pod1, tcp("203.0.113.11", 8080), "pod2", "203.0.113.10"],
    [pod1, tcp("203.0.113.10"), "pod1", "203.0.113.10"],
  ] as const;
  for (const [from, target, answeredBy, seenAs] of asked)
    t.match(
      await from.ask(target),
      { answeredBy, seenAs },
      `${from.name} asks ${target.address}:${target.port}`,
    );
  t.ok(await outside.hearsNothing(tcp("203.0.113.11", 81)), "a port that no DNAT names stays shut");
});

t.test(
  "a client leaves by its bucket's EIP, whichever map that is in, and keeps its port where it should",
  async (t) => {
    for (let host = 100; host < 120; host++) {
      const from = `10.0.1.${host}`;
      const [ought] = full.pools.filter((one) => holds(one, ip(from)));
      const buckets = ought === undefined ? [] : bucketsOf(ought, ipv4);
      const { eip: seenAs, mapping } = buckets[host % buckets.length] ?? {};
      const answer = await pod1.ask({ ...outsideUdp, from, fromPort: 20_000 + host });
      t.match(answer, { seenAs }, `${from} by ${mapping}`);
      if (mapping === "preserve") t.match(answer, { seenPort: 20_000 + host });
    }
  },
);

t.test("backends take even shares; counters count flows by object", async (t) => {
  const before = countersByObject(full, await dataplane.driver.readCounters(signal));
  await outside.flood(udp("203.0.113.11", 5353), 400);
  const counts: number[] = [];
  await visitElements(netlink, "dnat_n", (_key, _value, { packets }) => counts.push(packets), signal);
  t.equal(counts.length, 2);
  for (const count of counts) t.ok(count > 130 && count < 270, `${counts}`);
  const after = countersByObject(full, await dataplane.driver.readCounters(signal));
  const flows = (id: "dnats/dns" | "fips/f10") =>
    (after.get(id)?.packets ?? 0) - (before.get(id)?.packets ?? 0);
  t.ok(flows("dnats/dns") > 380, "but for those whose ports a flow before them had");
  t.equal(flows("fips/f10"), 0);
  t.ok((after.get("eips/e11")?.packets ?? 0) > 0, "hairpins count for their EIP");
});

t.test(
  "a retargeted FIP translates to the new pod, a deleted one to none; flows of others continue",
  async (t) => {
    const stream = await pod2.open(outsideTcp);
    t.ok(await stream.advance(5_000));
    t.same(await converge({ ...full, fips: [fip(10, pod2Ip)] }), [
      "replace ip natgw fip_in { 203.0.113.10 : 10.0.1.6 }",
      "remove ip natgw fip_out { 10.0.1.5 : 203.0.113.10 }",
      "add ip natgw fip_out { 10.0.1.6 : 203.0.113.10 }",
    ]);
    t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod2" });
    t.equal((await converge({ ...full, fips: [] })).length, 2);
    t.ok(await outside.hearsNothing(tcp("203.0.113.10", 81)));
    // A service changes from two backends to one and back. Its element moves from one map to the other in one
    // transaction.
    await converge({ ...full, dnats: [dnat("dns", "udp", 5353, pod2Ip)] });
    // One of the ports that the kernel chooses may still have a flow of an earlier test, to the other backend.
    const asked = { ...udp("203.0.113.11", 5353), fromPort: 5353 };
    t.match(await outside.ask(asked), { answeredBy: "pod2" });
    t.ok(await stream.advance(5_000), "a flow lives through all of it");
    await converge(full);
    await nft("flush table ip natgw");
    t.ok(await stream.advance(100_000), "and, by the guard, through a table without rules");
    t.equal((await converge(full)).length, 1);
    t.ok(await stream.advance(100_000), "and through a table made anew");
    await nft("delete table ip natgw");
    t.ok(await stream.advance(100_000), "and, by the guard again, through its deletion");
    await converge(full);
    t.ok((await stream.close()).isIntact);
  },
);

t.test("foreign changes of the table are detected and undone in one pass", async (t) => {
  const everything = new Set([...full.eips, ...full.fips, ...full.dnats].map(({ id }) => id)).size + 3;
  const drifts: readonly (readonly [input: string, missing: number, changes: number])[] = [
    ["delete element ip natgw fip_in { 203.0.113.10 }", 1, 1],
    [
      "delete element ip natgw fip_in { 203.0.113.10 }; add element ip natgw fip_in { 203.0.113.10 : 10.0.1.99 }",
      1,
      1,
    ],
    ["add element ip natgw hairpin { 198.51.100.1 : 198.51.100.2 }", 0, 1],
    ["add element ip natgw fip_in { 203.0.113.11 : 10.0.1.99 }", 2, 1],
    ["add element ip natgw fip_out { 10.0.1.113 : 203.0.113.99 }", 1, 1],
    ["add element ip natgw fip_in { * : 10.0.1.99 }", 2, 1],
    ["flush map ip natgw snat_r", 3, 26],
    ["flush table ip natgw", everything, 1],
    ["delete table ip natgw", everything, 49],
    ["add rule ip natgw pre accept", everything, 1],
    ["insert rule ip natgw post oifname net1 accept", everything, 1],
    ["add chain ip natgw other", everything, 1],
    ["add set ip natgw other { type ipv4_addr; }", everything, 1],
    ["add counter ip natgw other", everything, 1],
    ["table ip natgw { flags dormant; }", everything, 1],
    [
      "flush chain ip natgw vpc_mark; delete chain ip natgw vpc_mark; add chain ip natgw vpc_mark { type filter hook prerouting priority -151; }; add rule ip natgw vpc_mark iifname eth0 meta mark set meta mark | 1",
      everything,
      1,
    ],
    ["add chain ip natgw pre { policy drop; }", everything, 1],
    ["add table inet natgw", 0, 0],
    ["delete table inet natgw", 0, 0],
    ["delete table ip natgw_guard", 0, 1],
    ["add rule ip natgw_guard forward accept", 0, 1],
  ];
  for (const [input, missing, changes] of drifts) {
    const done = await nft(input.replaceAll("; ", "\n").replaceAll(";\n}", "; }")).then(
      () => true,
      () => false,
    );
    t.ok(done, input);
    const observed = await dataplane.observe(signal);
    t.equal(dataplane.planner.missing(full, observed).size, missing, `missing after ${input}`);
    t.equal((await converge(full)).length, changes, `changes after ${input}`);
  }
  t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
});

t.test("for foreign element changes only these are read, for other changes the whole table", async (t) => {
  const costOf = async (input: string) => {
    await nft(input);
    Object.assign(cost, { sends: 0, forks: 0 });
    const observed = await dataplane.observe(signal);
    const { sends, forks } = cost;
    const stranger = nftablesRules({ netlink, run: createRun() });
    const { table, foreign } = await stranger.observe(signal);
    t.same(asPlainMaps(observed.table), asPlainMaps(table), input);
    t.same(observed.foreign, foreign, input);
    return { sends, forks };
  };
  await converge(full);
  const byKey = { sends: 3, forks: 0 };
  t.same(await costOf("delete element ip natgw fip_in { 203.0.113.10 }"), byKey);
  t.same(
    await costOf("add element ip natgw fip_in { 203.0.113.10 : 10.0.1.77, 203.0.113.99 : 10.0.1.1 }"),
    byKey,
  );
  t.same(await costOf("flush map ip natgw snat_r"), byKey);
  t.same(
    await costOf("add element ip natgw snat_p { 10.9.0.0-10.9.0.9 . 0.0.0.0-0.0.0.15 : 203.0.113.14 }"),
    byKey,
  );
  const many = Array.from({ length: 300 }, (_, at) => `10.8.${at >> 8}.${at & 255} : 203.0.113.10`);
  t.same(await costOf(`add element ip natgw fip_out { ${many} }`), { sends: 3, forks: 0 }, "one map whole");
  t.same(await costOf("add table ip6 stranger"), { sends: 2, forks: 0 });
  t.same(await costOf("add table ip stranger"), { sends: 3, forks: 1 }, "which is listed");
  t.same(await costOf("delete table ip6 stranger; delete table ip stranger"), { sends: 3, forks: 0 });
  for (const input of [
    "add rule ip natgw pre accept",
    "delete table ip natgw_guard",
    "add set ip natgw other { type ipv4_addr; }",
  ])
    t.ok((await costOf(input)).sends > 12, `after ${input} all is read`);
  await converge(full);
});

t.test("another writer between plan and commit is never overwritten unseen", async (t) => {
  const other = { ...full, fips: [fip(10, pod2Ip)] };
  const race = async (input: string) => {
    const plan = dataplane.plan(other, await dataplane.observe(signal), "open");
    await nft(input);
    await dataplane.apply(plan, signal);
    await expectConverged(other);
    await converge(full);
  };
  await race("add table ip stranger");
  await race("delete element ip natgw fip_in { 203.0.113.10 }");
  await race(
    "delete element ip natgw fip_in { 203.0.113.10 }\nadd element ip natgw fip_in { 203.0.113.10 : 10.0.1.77 }",
  );
  await race("delete table ip natgw");
  await race("delete table ip natgw_guard\ndelete table ip stranger");
  t.pass();
});

t.test("a refused transaction changes nothing and names the element", async (t) => {
  const observed = await dataplane.observe(signal);
  const plan = dataplane.plan({ ...full, fips: [fip(10, pod2Ip)] }, observed, "open");
  const step = plan.payload.steps.find(({ kind }) => kind === "table");
  if (step?.kind !== "table") throw new Error("not the step that was expected");
  const add = {
    ...step.transaction.add,
    snat_r: new Map([
      ["10.7.0.0-10.7.0.9 . 0.9.0.0-0.9.0.15", "203.0.113.10"],
      ["10.7.0.5-10.7.0.20 . 0.9.0.0-0.9.0.15", "203.0.113.11"],
    ]),
  };
  const bad: RulesPlan<NftablesPayload> = {
    changes: plan.changes,
    payload: { ...plan.payload, steps: [{ kind: "table", transaction: { ...step.transaction, add } }] },
  };
  await t.rejects(dataplane.apply(bad, signal), {
    code: "rules-refused",
    message: /snat_r: 10\.7\.0\.5-10\.7\.0\.20 \. 0\.9\.0\.0-0\.9\.0\.15: E/,
  });
  t.equal(await dataplane.observe(signal), observed, "and nothing has to be read again");
  await expectConverged(full);
});

t.test("rules of others are listed, by the address that they name", async (t) => {
  await nft(`table inet stranger {
    set listed { type ipv4_addr; elements = { 203.0.113.10, 198.51.100.3 } }
    chain forward { type filter hook forward priority 10; ip daddr 203.0.113.10 accept; ip daddr 203.0.113.101 accept; }
  }`);
  await run("iptables-nft", ["-t", "nat", "-A", "POSTROUTING", "-s", "203.0.113.10", "-j", "RETURN"]);
  const found = dataplane.planner.foreignRulesNaming(await dataplane.observe(signal), ip("203.0.113.10"));
  t.match(found.toSorted(), [
    "inet stranger forward ip daddr 203.0.113.10 accept",
    /^inet stranger listed elements = \{.*203\.0\.113\.10/,
    /^ip nat POSTROUTING .*ip saddr 203\.0\.113\.10/,
  ]);
  t.same(dataplane.planner.foreignRulesNaming(await dataplane.observe(signal), ip("203.0.113.11")), []);
  await nft("delete table inet stranger\ndelete table ip nat");
  await expectConverged(full);
});

t.test(
  "nested networks flattened 300 times: no refusal, and the kernel finds every client's EIP",
  async (t) => {
    let seed = 7;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    /** Large pools change the definition. Most rounds must change only elements. */
    const randomPools = (isCrowded: boolean): readonly SnatPool[] => {
      const pools = new Map<string, SnatPool>();
      for (let at = 0; at < 12; at++) {
        const length = 20 + random(13);
        const cidr = makeCidr(fromU32(0x0a000000 + random(4096)), length);
        const out = iface(at === 0 || random(4) === 0 ? "net2" : "net1");
        const most = isCrowded ? 20 : 5;
        const count = Math.min([1, 1, 2, 3, most][random(5)] ?? 1, 2 ** (32 - length));
        const first = 1 + random(150);
        const members = Array.from(
          { length: count },
          (_, n): PoolMember => ({
            id: objectId("snat", `s-${cidr.replace("/", "-")}-${out}-${n}`),
            eip: ip(`203.0.113.${first + n}`),
            mapping: random(3) === 0 ? "preserve" : "random",
          }),
        );
        const [head, ...rest] = members;
        if (head !== undefined)
          pools.set(`${cidr} ${out}`, { cidr, interface: out, members: [head, ...rest] });
      }
      return [...pools.values()];
    };
    let wrong = 0;
    for (let round = 0; round < 300; round++) {
      const pools = randomPools(round % 20 < 2);
      const program = { ...emptyProgram, pools };
      const plan = dataplane.plan(program, await dataplane.observe(signal), "open");
      await dataplane.apply(plan, signal);
      const observed = await dataplane.observe(signal);
      if (dataplane.plan(program, observed, "open").changes.length > 0) throw new Error(`round ${round}`);
      if (round % 50 === 0) await expectConverged(program);
      for (let probe = 0; probe < 8; probe++) {
        const client = 0x0a000000 + random(4096);
        const out = iface(random(3) === 0 ? "net2" : "net1");
        const is = await leavesBy(program, client, out);
        if (is !== byLongestPrefix(pools, client, out)) wrong++;
      }
    }
    t.equal(wrong, 0);
  },
);

t.test(
  "if the kernel dumps a definition with other attributes than were sent, the agent learns them",
  async (t) => {
    const odd: ConversingConnection = {
      request: (...args) => netlink.request(...args),
      batch: (...args) => netlink.batch(...args),
      converse: (...args) => netlink.converse(...args),
      close: () => undefined,
      dump: (message, onMessage, dumpSignal, onRestart) =>
        netlink.dump(
          message,
          (type, view, start, end) => {
            if (type !== messageType.newChain) return onMessage(type, view, start, end);
            // Each chain is created with another priority than it has.
            const copy = new Uint8Array(view.buffer.slice(view.byteOffset + start, view.byteOffset + end));
            const at = copy.findIndex((_, index) => copy[index] === 0xff && copy[index + 1] === 0xff);
            if (at >= 0) copy[at + 3] = 1;
            return onMessage(type, new DataView(copy.buffer), 0, copy.length);
          },
          dumpSignal,
          onRestart,
        ),
    };
    const reader = nftablesRules({ netlink: odd, run: forks });
    const first = reader.plan(full, await reader.observe(signal), "open");
    t.ok(
      first.changes.some(({ text }) => text === "table ip natgw"),
      "at first it looks like another definition",
    );
    await reader.apply(first, signal);
    t.same(reader.plan(full, await reader.observe(signal), "open").changes, []);
    await nft("add rule ip natgw pre accept");
    t.equal(
      reader.plan(full, await reader.observe(signal), "open").changes.length,
      1,
      "a change is still one",
    );
    await converge(full);
  },
);

t.test("10,000 FIPs", async (t) => {
  const many: Program = {
    ...emptyProgram,
    eips: Array.from({ length: 10_000 }, (_, at) => ({
      id: objectId("eip", `e${at}`),
      address: fromU32(0xc6120000 + at),
      prefixLength: 15,
      interface: iface("net1"),
    })),
    fips: Array.from({ length: 10_000 }, (_, at) => ({
      id: objectId("fip", `f${at}`),
      eip: fromU32(0xc6120000 + at),
      internalIp: fromU32(0x0a400000 + at),
      isOutward: true,
    })),
  };
  await converge(emptyProgram);
  const observed = await dataplane.observe(signal);
  const plan = await measured(t, "plan from nothing", async () => dataplane.plan(many, observed, "open"));
  await measured(t, "commit of 30,000 elements", () => dataplane.apply(plan, signal));
  const whole = await measured(t, "reading them back", () => dataplane.observe(signal));
  t.same(await measured(t, "plan at rest", async () => dataplane.plan(many, whole, "open").changes), []);
  t.equal(await measured(t, "looking again", () => dataplane.observe(signal)), whole);
  const other = { ...many, fips: [...many.fips.slice(0, -1), fip(10, pod1Ip)] };
  const one = await measured(t, "plan of one FIP", async () => dataplane.plan(other, whole, "open"));
  t.equal(one.changes.length, 6);
  await measured(t, "its commit", () => dataplane.apply(one, signal));
  const after = await measured(t, "reading it back", () => dataplane.observe(signal));
  t.same(dataplane.plan(other, after, "open").changes, []);
  await measured(t, "reading the whole", () => nftablesRules({ netlink, run: forks }).observe(signal));
  await expectConverged(other);
  t.equal((await converge(emptyProgram)).length, 30_000);
});

/** Prints how long it took; asserts nothing. */
async function measured<T>(t: Test, what: string, effect: () => Promise<T>): Promise<T> {
  const before = { ...cost };
  const start = performance.now();
  const result = await effect();
  const took = (performance.now() - start).toFixed(2);
  const { sends, receives, forks: forked } = cost;
  t.comment(
    `${what}: ${took} ms, ${sends - before.sends} sends, ${receives - before.receives} receives, ${forked - before.forks} forks`,
  );
  return result;
}

/** The EIP and the mapping that the kernel finds for a client, with the lookups of the rules. */
async function leavesBy(program: Program, client: number, out: string): Promise<string | undefined> {
  for (const [number, lookup] of wantedTable(program).definition.lookups.entries()) {
    if (lookup.interface !== out) continue;
    const bucket = ((client & (lookup.buckets - 1)) ^ (number << 16)) >>> 0;
    for (const map of ["snat_r", "snat_p"] as const) {
      const found = await find(map, `${fromU32(client)} . ${fromU32(bucket)}`);
      if (found !== undefined) return `${found} ${map === "snat_r" ? "random" : "preserve"}`;
    }
  }
  return undefined;
}

/** The value of the element that holds a key, which need not be the element's own. */
async function find(map: MapName, key: string): Promise<string | undefined> {
  let found: string | undefined;
  await netlink.converse(
    [encodeGet(map, key)],
    (_, { type }, view, start, end) => {
      if (type !== messageType.newElements) return true;
      forEachElement(map, view, start, end, (_key, value) => {
        found = value;
      });
      return false;
    },
    signal,
  );
  return found;
}

function byLongestPrefix(pools: readonly SnatPool[], client: number, out: string): string | undefined {
  const holding = pools.filter((one) => one.interface === out && holds(one, fromU32(client)));
  const [longest] = holding.sort((one, other) => prefixLengthOf(other.cidr) - prefixLengthOf(one.cidr));
  if (longest === undefined) return undefined;
  const members = bucketsOf(longest, ipv4);
  const { eip: address, mapping } = members[client % members.length] ?? {};
  return `${address} ${mapping}`;
}

function holds({ cidr }: SnatPool, address: Ip): boolean {
  return contains(cidr, address);
}
