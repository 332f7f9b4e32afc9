/** The table of backends against the kernel: how it tells it, and what others do to it. */
import t from "tap";
import { BackendsTable } from "../../agent/kernel/nftables/backends.ts";
import { createRun } from "../../agent/kernel/run.ts";
import { objectId } from "../../lib/model/names.ts";
import type { Program, ProgramDnat } from "../../lib/model/program.ts";
import { joinBackends, planBackends, wantedBackends } from "../../lib/plan/iptables/backends.ts";
import { emptyProgram, ip } from "../property/lib/plan/iptables/programs.ts";
import { enterNftNamespace } from "../support/nft-namespace.ts";

const signal = new AbortController().signal;
const { netlink } = await enterNftNamespace(t, "backends");
const run = createRun();
const table = new BackendsTable(netlink);

function dnat(protocol: ProgramDnat["protocol"], port: number, ...hosts: readonly number[]): ProgramDnat {
  const [first = 1, ...others] = hosts;
  const backend = (host: number) => ({ ip: ip(`10.0.1.${host}`), port: 8000 + host });
  return {
    id: objectId("dnat", `${protocol}-${port}`),
    eip: ip("203.0.113.10"),
    protocol,
    externalPort: port,
    backends: [backend(first), ...others.map(backend)],
    isList: true,
  };
}

const of = (...dnats: readonly ProgramDnat[]): Program => ({ ...emptyProgram, dnats });
const three = dnat("tcp", 80, 1, 2, 3);
const two = dnat("udp", 53, 1, 2);
const one = dnat("sctp", 132, 9);
const full = of(three, two, one);

async function converge(program: Program): Promise<readonly string[]> {
  const wanted = wantedBackends(program);
  const plan = async (from: BackendsTable) => joinBackends(planBackends(wanted, await from.read(signal)));
  const { transaction, changes } = await plan(table);
  if (transaction !== undefined) {
    const before = await table.read(signal);
    const outcome = await table.write(transaction, undefined);
    if (outcome.kind !== "done") throw new Error(JSON.stringify(outcome));
    const read = await table.readWritten(before, [transaction], signal);
    const whole = await new BackendsTable(netlink).read(signal);
    t.same(read, whole, "what was written is read as the whole is");
    t.same(await table.read(signal), whole, "also by who knows what it wrote");
  }
  t.same((await plan(table)).changes, [], "converged");
  t.same((await plan(new BackendsTable(netlink))).changes, [], "also to one who did not make it");
  return changes.map(({ action, text }) => `${action} ${text}`);
}

const listed = async () => (await run(["nft", "list", "table", "ip", "kube-ovn"])).stdout;
const chain = (name: string) => `chain ip kube-ovn dnat-203.0.113.10-${name}`;
const rule = (protocol: string, count: number, map: string) =>
  `{ meta l4proto ${protocol} dnat ip to numgen random mod ${count} map { ${map} } }`;
const element = (key: string, name: string) =>
  `ip kube-ovn dnat_backends { 203.0.113.10 . ${key} : goto dnat-203.0.113.10-${name} }`;

t.test("the table is made, listed as Kube-OVN's tests read it, and loads again", async (t) => {
  t.same((await converge(full)).length, 7);
  const text = await listed();
  for (const words of [
    "203.0.113.10 . tcp . 80 : goto dnat-203.0.113.10-tcp-80",
    "203.0.113.10 . udp . 53 : goto dnat-203.0.113.10-udp-53",
    "203.0.113.10 . sctp . 132 : goto dnat-203.0.113.10-sctp-132",
    "type nat hook prerouting priority dstnat + 1; policy accept;",
    "ip daddr . meta l4proto . th dport vmap @dnat_backends",
    "meta l4proto tcp dnat ip to numgen random mod 3 map { 0 : 10.0.1.1 . 8001, 1 : 10.0.1.2 . 8002, 2 : 10.0.1.3 . 8003 }",
    "meta l4proto udp dnat ip to numgen random mod 2 map { 0 : 10.0.1.1 . 8001, 1 : 10.0.1.2 . 8002 }",
    "meta l4proto sctp dnat ip to numgen random mod 1 map { 0 : 10.0.1.9 . 8009 }",
  ])
    t.ok(text.includes(words), words) || t.comment(text);
  await run(["nft", "-f", "-"], { stdin: `delete table ip kube-ovn\n${text}` });
  t.same(await converge(full), [], "what nft makes of its own listing is the same table");
});

t.test("a change is one rule, whatever else there is", async (t) => {
  await converge(full);
  const fewer = dnat("tcp", 80, 1, 3);
  t.same(await converge(of(fewer, two, one)), [
    `replace ${chain("tcp-80")} ${rule("tcp", 2, "0 : 10.0.1.1 . 8001, 1 : 10.0.1.3 . 8003")}`,
  ]);
  t.same(await converge(of(fewer, one)), [
    `remove ${element("udp . 53", "udp-53")}`,
    `remove ${chain("udp-53")}`,
  ]);
  t.same(await converge(of(fewer, two, one)), [
    `add ${chain("udp-53")} ${rule("udp", 2, "0 : 10.0.1.1 . 8001, 1 : 10.0.1.2 . 8002")}`,
    `add ${element("udp . 53", "udp-53")}`,
  ]);
  t.equal((await converge(of())).length, 6);
  t.match(await listed(), "vmap @dnat_backends", "the empty table stays");
});

t.test("what others do to the table is seen and undone in one transaction", async (t) => {
  await converge(full);
  const rewritten = [
    `replace ${chain("tcp-80")} ${rule("tcp", 3, "0 : 10.0.1.1 . 8001, 1 : 10.0.1.2 . 8002, 2 : 10.0.1.3 . 8003")}`,
  ];
  const replaced = ["replace table ip kube-ovn"];
  const tcp = "dnat-203.0.113.10-tcp-80";
  for (const [input, ...changes] of [
    [`flush chain ip kube-ovn ${tcp}`, ...rewritten],
    [`insert rule ip kube-ovn ${tcp} drop`, ...rewritten],
    [`add rule ip kube-ovn ${tcp} accept`, ...rewritten],
    [
      `flush chain ip kube-ovn ${tcp}; add rule ip kube-ovn ${tcp} meta l4proto tcp dnat ip to numgen random mod 3 map { 0 : 10.0.1.1 . 8001, 1 : 10.0.1.2 . 8002, 2 : 10.0.1.9 . 8003 }`,
      ...rewritten,
    ],
    [
      `flush chain ip kube-ovn ${tcp}; add rule ip kube-ovn ${tcp} meta l4proto tcp dnat ip to numgen inc mod 3 map { 0 : 10.0.1.1 . 8001, 1 : 10.0.1.2 . 8002, 2 : 10.0.1.3 . 8003 }`,
      ...rewritten,
    ],
    [
      "delete element ip kube-ovn dnat_backends { 203.0.113.10 . tcp . 80 }",
      `add ${element("tcp . 80", "tcp-80")}`,
    ],
    [
      "delete element ip kube-ovn dnat_backends { 203.0.113.10 . tcp . 80 }; add element ip kube-ovn dnat_backends { 203.0.113.10 . tcp . 80 : drop }",
      `replace ${element("tcp . 80", "tcp-80")}`,
    ],
    [
      `add element ip kube-ovn dnat_backends { 203.0.113.11 . tcp . 80 : goto ${tcp} }`,
      "remove ip kube-ovn dnat_backends { 203.0.113.11 . tcp . 80 : goto dnat-203.0.113.11-tcp-80 }",
    ],
    [
      "add chain ip kube-ovn other; add chain ip kube-ovn another; add rule ip kube-ovn other jump another",
      "remove chain ip kube-ovn other",
      "remove chain ip kube-ovn another",
    ],
    ["add rule ip kube-ovn prerouting accept", ...replaced],
    ["flush chain ip kube-ovn prerouting", ...replaced],
    ["add chain ip kube-ovn late { type filter hook forward priority 5; }", ...replaced],
    ["add set ip kube-ovn other { type ipv4_addr; }", ...replaced],
    ["add counter ip kube-ovn other", ...replaced],
    ["add table ip kube-ovn { flags dormant; }", ...replaced],
    ["add table ip stranger"],
  ] as const) {
    await run(["nft", input]);
    t.same(await converge(full), changes, input);
  }
  for (const input of ["flush table ip kube-ovn", "delete table ip kube-ovn"]) {
    await run(["nft", input]);
    t.ok((await converge(full)).length > 0, input);
  }
});

t.test("a table that Kube-OVN's script made is taken over in one transaction", async (t) => {
  const before = `
    table ip kube-ovn {
      map services { type ipv4_addr . inet_proto . inet_service : verdict; }
      chain dnat-5d41402a {
        meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.0.1.1 . 80 }
      }
      chain prerouting { type nat hook prerouting priority dstnat; policy accept;
        ip daddr . ip protocol . th dport vmap @services
      }
    }
    add element ip kube-ovn services { 203.0.113.10 . tcp . 80 : goto dnat-5d41402a }`;
  await run(["nft", "-f", "-"], { stdin: `delete table ip kube-ovn\n${before}` });
  const changes = await converge(full);
  t.equal(changes[0], "replace table ip kube-ovn");
  t.notMatch(await listed(), "5d41402a");
});

t.test("a transaction on a ruleset that moved, or that the kernel refuses, changes nothing", async (t) => {
  await converge(full);
  const { transaction } = joinBackends(planBackends(wantedBackends(of(three)), await table.read(signal)));
  if (transaction === undefined) throw new Error("nothing was planned");
  await run(["nft", "add table ip stranger2"]);
  t.equal((await table.write(transaction, undefined)).kind, "stale");
  await table.read(signal);
  const bad = { ...transaction, remove: ["203.0.113.99 . tcp . 80"] };
  t.match(await table.write(bad, undefined), { kind: "refused", error: { code: "ENOENT" } });
  t.same(await converge(full), []);
});

t.test("500 DNATs of 256 backends", async (t) => {
  const hosts = Array.from({ length: 256 }, (_, host) => host);
  const many = Array.from({ length: 500 }, (_, at) => dnat("tcp", 1000 + at, ...hosts));
  await converge(of(...many));
  t.equal((await converge(of(...many.slice(1)))).length, 2);
  t.ok(await converge(of()));
});
