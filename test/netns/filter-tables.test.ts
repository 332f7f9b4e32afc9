/** The tables of guard and gate on a real kernel: how the kernel lists them, and changes by other programs. */
import t from "tap";
import { FilterTables } from "../../agent/kernel/nftables/filter-tables.ts";
import { createRun } from "../../agent/kernel/run.ts";

import { objectId } from "../../lib/model/names.ts";
import type { Program } from "../../lib/model/program.ts";
import type { FilterTablesTransaction, ObservedFilterTables } from "../../lib/nftables/filter-tables.ts";
import { byGuardSet } from "../../lib/nftables/sets.ts";
import { messageType } from "../../lib/nftables/wire.ts";
import { planFilterTables } from "../../lib/plan/gate/filter-tables.ts";
import type { GateState, Gates } from "../../lib/plan/gate-state.ts";
import { wantedGuard } from "../../lib/plan/guard.ts";
import { cidr, emptyProgram, iface, ip } from "../property/lib/plan/iptables/programs.ts";
import { enterNftNamespace } from "../support/nft-namespace.ts";
import { gatesOf } from "../support/with-gate.ts";

const signal = new AbortController().signal;
const { netlink } = await enterNftNamespace(t, "filterTables");
const run = createRun();
const tables = new FilterTables(netlink);

const eip = (host: number) => ({
  id: objectId("eip", `e${host}`),
  address: ip(`203.0.113.${host}`),
  prefixLength: 24,
  interface: iface("net1"),
});
const full: Program = {
  ...emptyProgram,
  eips: [eip(1), eip(2), eip(3)],
  fips: [{ id: objectId("fip", "f"), eip: ip("203.0.113.1"), internalIp: ip("10.0.1.5"), isOutward: true }],
  dnats: [
    {
      id: objectId("dnat", "d"),
      eip: ip("203.0.113.2"),
      protocol: "tcp",
      externalPort: 80,
      backends: [{ ip: ip("10.0.1.6"), port: 8080 }],
    },
  ],
  pools: ["10.0.0.0/16", "10.0.1.0/24", "0.0.0.0/0"].map((text) => ({
    cidr: cidr(text),
    interface: iface("net1"),
    members: [{ id: objectId("snat", text), eip: ip("203.0.113.3"), mapping: "random" }],
  })),
};

async function converge(program: Program, state: GateState | Gates): Promise<readonly string[]> {
  const gates = typeof state === "string" ? gatesOf(state) : state;
  const plan = async (from: FilterTables) =>
    planFilterTables(program, wantedGuard(program), await from.read(signal), gates);
  const parts = await plan(tables);
  for (const { transaction } of parts) {
    const outcome = await tables.write(transaction, undefined);
    if (outcome.kind !== "done") throw new Error(JSON.stringify(outcome));
  }
  t.same(await plan(tables), [], "converged");
  t.same(await plan(new FilterTables(netlink)), [], "also to one who did not make it");
  return parts.flatMap(({ changes }) => changes.map(({ action, text }) => `${action} ${text}`));
}

const listed = async (table: string) => (await run(["nft", "list", "table", "ip", table])).stdout;

t.test("the tables are created, listed by nft, changed element by element and removed", async (t) => {
  t.same(await converge(full, "closed"), [
    'add table ip natgw_guard { iifname "eth0" oifname "net1" }',
    'add table ip natgw_gate { iifname "eth0" oifname "net1" }',
  ]);
  const guard = await listed("natgw_guard");
  for (const words of [
    'iifname "eth0" oifname "net1" ct state invalid jump mapped',
    'oifname "net1" ct direction original ct status dnat jump misrouted',
    'ip daddr @fips counter name "guard_misrouted_ingress" drop',
    'ip daddr . meta l4proto . th dport @backends counter name "guard_misrouted_ingress" drop',
    'ip saddr @fips counter name "guard_invalid_egress" drop',
    'ip saddr . meta l4proto . th sport @backends counter name "guard_invalid_egress" drop',
    'ct state invalid ip daddr @eips counter name "guard_invalid_ingress" drop',
    "elements = { 10.0.1.5 }",
    "elements = { 10.0.1.6 . tcp . 8080 }",
    "elements = { 203.0.113.1, 203.0.113.2,",
  ])
    t.match(guard, words);
  t.equal(guard.match(/@clients counter/g)?.length, 33, "each length of prefix");
  const gate = await listed("natgw_gate");
  for (const words of ["ct status ! snat,dnat", "ct state invalid,untracked"])
    t.match(gate, `iifname "eth0" oifname "net1" ${words} counter name "gate_egress" drop`);
  t.match(gate, "type filter hook postrouting priority 300");

  t.same(await converge({ ...full, pools: full.pools.slice(1) }, "open"), [
    "remove ip natgw_guard clients { 10.0.0.0 . 255.255.0.0 }",
    "remove table ip natgw_gate",
  ]);
  t.same(await converge({ ...full, fips: [], eips: [eip(1), eip(4)] }, "open"), [
    "add ip natgw_guard clients { 10.0.0.0 . 255.255.0.0 }",
    "add ip natgw_guard eips { 203.0.113.4 }",
    "remove ip natgw_guard fips { 10.0.1.5 }",
    "remove ip natgw_guard eips { 203.0.113.2, 203.0.113.3 }",
  ]);
});

t.test("sets that lose all of many elements are emptied by one request", async (t) => {
  const numbers = Array.from({ length: 1_500 }, (_, at) => at);
  const crowd: Program = {
    ...full,
    fips: numbers.map((at) => ({
      id: objectId("fip", `f${at}`),
      eip: ip("203.0.113.1"),
      internalIp: ip(`10.1.${at >> 8}.${at & 255}`),
      isOutward: true,
    })),
  };
  await converge(crowd, "open");
  const without = { ...crowd, fips: [], dnats: [] };
  const [part, ...others] = planFilterTables(
    without,
    wantedGuard(without),
    await tables.read(signal),
    gatesOf("open"),
  );
  t.same(others, []);
  t.match(part?.transaction, { remove: { fips: "all", backends: ["10.0.1.6 . tcp . 8080"], eips: [] } });
  t.same(await converge(without, "open"), [
    `remove ip natgw_guard fips { ${["0.0", "0.1", "0.10", "0.100", "0.101", "0.102", "0.103", "0.104"].map((end) => `10.1.${end}`).join(", ")}, … 1492 more }`,
    "remove ip natgw_guard backends { 10.0.1.6 . tcp . 8080 }",
  ]);
  t.match(await listed("natgw_guard"), "elements = { 203.0.113.1, 203.0.113.2,", "others are as they were");

  await converge(crowd, "open");
  const { fips } = crowd;
  const replaced = { ...crowd, fips: [{ ...full.fips[0], internalIp: ip("10.0.1.7") } as (typeof fips)[0]] };
  await converge(replaced, "open");
  t.match(
    await listed("natgw_guard"),
    "elements = { 10.0.1.7 }",
    "what was put in before the others went stays",
  );
  await converge(full, "open");
});

t.test("a reading that follows what was written is as one of the whole", async (t) => {
  await converge(full, "open");
  let last = await tables.read(signal);
  const keysOf = ({ elements }: ObservedFilterTables) => [...elements.fips.keys()].toSorted();
  // The later ones have more changes behind them than are kept beside a reading.
  for (let step = 0; step < 8; step++) {
    const fresh = Array.from({ length: 200 }, (_, at): [string, string] => [`10.2.${step}.${at}`, ""]);
    const transaction: FilterTablesTransaction = {
      definitions: {},
      remove: byGuardSet((set) => (set === "fips" ? keysOf(last).slice(0, step === 5 ? 40 : 1) : [])),
      add: byGuardSet((set) => new Map(set === "fips" ? fresh : [])),
    };
    t.equal((await tables.write(transaction, undefined)).kind, "done");
    const read = await tables.readWritten(last, [transaction], signal);
    t.same(keysOf(read), keysOf(await new FilterTables(netlink).read(signal)), `step ${step}`);
    t.equal(read.elements.fips.size, keysOf(read).length);
    t.equal(read.elements.eips, last.elements.eips, "what was not touched is not made again");
    last = read;
  }
  await converge(full, "open");
});

t.test("the gate opens without reading the guard's elements again", async (t) => {
  await converge(full, "closed");
  const dumped: number[] = [];
  const counting = new FilterTables({
    ...netlink,
    dump(message, ...rest) {
      dumped.push(message.type);
      return netlink.dump(message, ...rest);
    },
    converse: (...args) => netlink.converse(...args),
  });
  const closed = await counting.read(signal);
  const elementDumps = () => dumped.filter((type) => type === messageType.getElements).length;
  const before = elementDumps();
  const [opening] = planFilterTables(full, wantedGuard(full), closed, gatesOf("open"));
  if (opening === undefined) throw new Error("nothing is planned");
  t.same(await counting.write(opening.transaction, undefined), { kind: "done" });
  const opened = await counting.read(signal);
  t.equal(opened.definitions.gate, undefined);
  t.equal(elementDumps(), before);
  await run(["nft", "delete element ip natgw_guard fips { 10.0.1.5 }"]);
  t.notOk((await counting.read(signal)).elements.fips.has("10.0.1.5"), "another's write is read");
});

t.test("changes by other programs are detected and undone in one transaction", async (t) => {
  await converge(full, "closed");
  for (const [input, ...changes] of [
    ["delete element ip natgw_guard fips { 10.0.1.5 }", "add ip natgw_guard fips { 10.0.1.5 }"],
    ["add element ip natgw_guard eips { 203.0.113.9 }", "remove ip natgw_guard eips { 203.0.113.9 }"],
    ["flush set ip natgw_guard backends", "add ip natgw_guard backends { 10.0.1.6 . tcp . 8080 }"],
    ["add rule ip natgw_guard forward accept", guardReplaced],
    ["flush chain ip natgw_guard mapped", guardReplaced],
    ["add chain ip natgw_guard other", guardReplaced],
    ["add counter ip natgw_guard other", guardReplaced],
    ["add table ip natgw_guard { flags dormant; }", guardReplaced],
    ["delete table ip natgw_guard", guardReplaced.replace("replace", "add")],
    ["flush chain ip natgw_gate postrouting", gateReplaced],
    ["flush table ip natgw_gate", gateReplaced],
    ["add table ip natgw_gate { flags dormant; }", gateReplaced],
    ["delete table ip natgw_gate", gateReplaced.replace("replace", "add")],
    ["add table ip stranger"],
  ] as const) {
    await run(["nft", input]);
    t.same(await converge(full, "closed"), changes, input);
  }
});

const guardReplaced = 'replace table ip natgw_guard { iifname "eth0" oifname "net1" }';
const gateReplaced = 'replace table ip natgw_gate { iifname "eth0" oifname "net1" }';

t.test("tables of the previous layout are replaced in one transaction", async (t) => {
  const before = `
    delete table ip natgw_guard
    delete table ip natgw_gate
    table ip natgw_guard {
      chain forward { type filter hook forward priority 0; policy accept;
        iifname "eth0" oifname "net1" ct state invalid drop
      }
      chain anchor { type nat hook input priority 100; policy accept; }
    }
    table ip natgw_gate {
      chain forward { type filter hook forward priority -300; policy accept;
        iifname "eth0" oifname "net1" drop
      }
    }`;
  await run(["nft", "-f", "-"], { stdin: before });
  const generation = await tables.readGeneration(signal);
  t.same(await converge(full, "closed"), [guardReplaced, gateReplaced]);
  t.equal(await tables.readGeneration(signal), generation + 1);
});

t.test("the gate of BFD comes and goes by itself, in the transactions of the others", async (t) => {
  const bfd = 'table ip natgw_bfd { iifname "eth0"; oifname "eth0" }';
  const both = { gate: "closed", bfd: "closed" } as const;
  t.same(await converge(full, both), [`add ${bfd}`]);
  const text = await listed("natgw_bfd");
  for (const port of [3784, 4784]) {
    t.match(text, `iifname "eth0" udp dport ${port} counter name "gate_bfd_ingress" drop`);
    t.match(text, `oifname "eth0" udp dport ${port} counter name "gate_bfd_egress" drop`);
  }
  await run(["nft", "flush chain ip natgw_bfd output"]);
  t.same(await converge(full, both), [`replace ${bfd}`]);
  await run(["nft", "delete table ip natgw_guard; delete table ip natgw_gate"]);
  const generation = await tables.readGeneration(signal);
  t.same(await converge(full, { gate: "open", bfd: "closed" }), [guardReplaced.replace("replace", "add")]);
  t.same(await converge(full, { gate: "open", bfd: "open" }), ["remove table ip natgw_bfd"]);
  t.same(await converge(full, both), [gateReplaced.replace("replace", "add"), `add ${bfd}`]);
  t.equal(await tables.readGeneration(signal), generation + 3);
  t.same(await converge(full, "closed"), ["remove table ip natgw_bfd"]);
});

t.test("counters of a table that is created again continue", async (t) => {
  const counted = "counter guard_invalid_egress {\npackets 7 bytes 420\n}";
  await run(["nft", "-f", "-"], {
    stdin: `delete table ip natgw_guard\ntable ip natgw_guard {\n${counted}\n}\n`,
  });
  await converge(full, "closed");
  const counts = await tables.readCounts(signal);
  t.same(counts.get("guard_invalid_egress"), { packets: 7, bytes: 420 });
  t.same(counts.get("gate_egress"), { packets: 0, bytes: 0 });
});

t.test("a transaction on a ruleset that moved, or that the kernel refuses, changes nothing", async (t) => {
  const [part] = planFilterTables(
    { ...full, fips: [] },
    wantedGuard({ ...full, fips: [] }),
    await tables.read(signal),
    gatesOf("open"),
  );
  if (part === undefined) throw new Error("nothing was planned");
  await run(["nft", "add table ip stranger2"]);
  t.equal((await tables.write(part.transaction, undefined)).kind, "stale");
  const { remove } = part.transaction;
  const bad = { ...part.transaction, remove: { ...remove, fips: ["10.0.1.99"] } };
  await tables.read(signal);
  t.match(await tables.write(bad, undefined), { kind: "refused", error: { code: "ENOENT" } });
  t.same(await converge(full, "closed"), []);
});
