/** `nat-gateway.sh` with a real agent: every operation, its exit code and output, and what it leaves in the kernel. */
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Gateway, type Variant } from "../support/gateway.ts";
import {
  type CallingForm,
  callingForms,
  callScript,
  differenceOf,
  kernelLines,
} from "../support/nat-gateway.ts";
import { until } from "../support/run.ts";

interface Row {
  readonly call: readonly string[];
  /** Absent: the call succeeds. */
  readonly exit?: 1;
  /** Absent: nothing. */
  readonly stdout?: string;
  readonly stderr?: string;
  /** What changes in the kernel: `+ line`, `- line`. Absent: nothing. */
  readonly kernel?: readonly string[];
}

const hairpin = (eip: string) =>
  `-A HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst ${eip} -j SNAT --to-source ${eip} --random-fully`;
const inward = (eip: string, ip: string) => `-A EXCLUSIVE_DNAT -d ${eip}/32 -j DNAT --to-destination ${ip}`;
const outward = (eip: string, ip: string) => `-A EXCLUSIVE_SNAT -s ${ip}/32 -j SNAT --to-source ${eip}`;
const dnat = (eip: string, protocol: string, port: number, to: string) =>
  `-A SHARED_DNAT -d ${eip}/32 -p ${protocol} -m ${protocol} --dport ${port} -j DNAT --to-destination ${to}`;
const snat = (eip: string, cidr: string, random = "") =>
  `-A SHARED_SNAT -s ${cidr} -o net1 -j SNAT --to-source ${eip}${random}`;
const route = (cidr: string, via: string) => `${cidr} via ${via} dev eth0 proto 196`;
const plus = (...lines: readonly string[]) => lines.map((line) => `+ ${line}`);
const minus = (...lines: readonly string[]) => lines.map((line) => `- ${line}`);
const refused = (call: readonly string[], stdout: string): Row => ({ call, exit: 1, stdout });

const beforeInit: readonly Row[] = [
  ...["eip-add 203.0.113.10/24", "floating-ip-del 203.0.113.10", "subnet-route-add 10.2.0.0/16,10.0.1.1"].map(
    (call): Row => ({ call: call.split(" "), exit: 1, stderr: "nat gateway not initialized" }),
  ),
  { call: ["eip-ingress-qos-add", "203.0.113.10,1,2,1"] },
  { call: ["eip-add", "203.0.113.10/24"], exit: 1, stderr: "nat gateway not initialized" },
  { call: ["eip-ingress-qos-del", "203.0.113.10"] },
  { call: ["eip-ingress-qos-del", "203.0.113.10"] },
  { call: ["get-iptables-version"], stdout: "iptables v" },
  { call: ["init", "eth0,net7"], exit: 1, stderr: "interface" },
  { call: ["init"] },
  { call: ["init"] },
  { call: ["init", "eth0,net1"] },
];

const [e10, e11, e12] = ["203.0.113.10", "203.0.113.11", "203.0.113.12"];

const operations: readonly Row[] = [
  // An EIP, and what FIP, DNAT and SNAT leave on it, again and in conflict.
  { call: ["eip-add", `${e10}/24`], kernel: plus(hairpin(e10), `${e10}/24`) },
  { call: ["eip-add", `${e10}/24`] },
  {
    call: ["floating-ip-add", `${e10},10.0.1.5`],
    kernel: plus(inward(e10, "10.0.1.5"), outward(e10, "10.0.1.5")),
  },
  { call: ["floating-ip-add", `${e10},10.0.1.5`] },
  refused(["floating-ip-add", `${e10},10.0.1.6`], `${e10} already maps to 10.0.1.5`),
  { call: ["dnat-add", `${e10},80,TCP,10.0.1.5,8080`], kernel: plus(dnat(e10, "tcp", 80, "10.0.1.5:8080")) },
  { call: ["dnat-add", `${e10},80,tcp,10.0.1.5,8080`] },
  refused(
    ["dnat-add", `${e10},80,tcp,10.0.1.5,8081`],
    `tcp port 80 of ${e10} already leads to 10.0.1.5:8080`,
  ),
  {
    call: ["snat-add", `${e10},10.0.0.0/16,--random-fully`],
    kernel: plus(snat(e10, "10.0.0.0/16", " --random-fully")),
  },
  { call: ["snat-add", `${e10},10.0.0.0/16,--random-fully`] },
  { call: ["snat-add", `${e10},10.0.1.0/24`], kernel: plus(snat(e10, "10.0.1.0/24")) },
  // Removals: absent, not meant, meant.
  { call: ["floating-ip-del", `${e10},10.0.1.6`] },
  { call: ["floating-ip-del", e11] },
  { call: ["dnat-del", `${e10},80,udp`] },
  { call: ["dnat-del", `${e10},80,tcp,10.0.1.6,8080`] },
  { call: ["snat-del", `${e10},10.0.1.0/25`] },
  { call: ["eip-del", `${e11}/24`] },
  { call: ["dnat-del", `${e10},80,Tcp`], kernel: minus(dnat(e10, "tcp", 80, "10.0.1.5:8080")) },
  { call: ["dnat-add", `${e10},80,udp,10.0.1.5,53`], kernel: plus(dnat(e10, "udp", 80, "10.0.1.5:53")) },
  { call: ["dnat-del", `${e10},80,udp,10.0.1.5,53`], kernel: minus(dnat(e10, "udp", 80, "10.0.1.5:53")) },
  { call: ["snat-del", `${e10},10.0.1.7/24`], kernel: minus(snat(e10, "10.0.1.0/24")) },
  // The EIP goes before its rules; then it comes back.
  { call: ["eip-del", `${e10}/24`], kernel: minus(hairpin(e10), `${e10}/24`) },
  { call: ["eip-del", `${e10}/24`] },
  { call: ["eip-add", `${e10}/24`], kernel: plus(hairpin(e10), `${e10}/24`) },
  {
    call: ["floating-ip-del", e10],
    kernel: minus(inward(e10, "10.0.1.5"), outward(e10, "10.0.1.5")),
  },
  { call: ["floating-ip-del", e10] },
  { call: ["snat-del", `${e10},10.0.0.0/16`], kernel: minus(snat(e10, "10.0.0.0/16", " --random-fully")) },
  { call: ["eip-del", `${e10}/32`], kernel: minus(hairpin(e10), `${e10}/24`) },
  // Rules before their EIP; several rules in one call; the 1.15 form of floating-ip-del.
  {
    call: ["floating-ip-add", `${e10},10.0.1.5`, `${e11},10.0.1.6`],
    kernel: plus(
      inward(e10, "10.0.1.5"),
      inward(e11, "10.0.1.6"),
      outward(e10, "10.0.1.5"),
      outward(e11, "10.0.1.6"),
    ),
  },
  {
    call: ["eip-add", `${e10}/24`, `${e11}/24`],
    kernel: plus(hairpin(e10), hairpin(e11), `${e10}/24`, `${e11}/24`),
  },
  {
    call: ["eip-del", `${e10}/24`, `${e11}/24`],
    kernel: minus(hairpin(e10), hairpin(e11), `${e10}/24`, `${e11}/24`),
  },
  {
    call: ["floating-ip-del", `${e10},10.0.1.5`, `${e11},10.0.1.6`],
    kernel: minus(
      inward(e10, "10.0.1.5"),
      inward(e11, "10.0.1.6"),
      outward(e10, "10.0.1.5"),
      outward(e11, "10.0.1.6"),
    ),
  },
  // Several backends.
  { call: ["eip-add", `${e12}/24`], kernel: plus(hairpin(e12), `${e12}/24`) },
  { call: ["nft-dnat-map-add", `${e12},80,tcp,10.0.1.5:80`], kernel: plus(`${e12} tcp 80 10.0.1.5:80`) },
  {
    call: ["nft-dnat-map-add", `${e12},80,TCP,none,0,10.0.1.5:80@10.0.1.6:80`],
    kernel: [...minus(`${e12} tcp 80 10.0.1.5:80`), ...plus(`${e12} tcp 80 10.0.1.5:80,10.0.1.6:80`)],
  },
  refused(
    ["dnat-add", `${e12},80,tcp,10.0.1.5,80`],
    `tcp port 80 of ${e12} already leads to a list of backends`,
  ),
  {
    call: ["nft-dnat-map-add", `${e12},80,tcp,clientip,10800,10.0.1.5:80@10.0.1.6:80`],
    kernel: [
      ...minus(`${e12} tcp 80 10.0.1.5:80,10.0.1.6:80`),
      ...plus(`${e12} tcp 80 10.0.1.5:80,10.0.1.6:80 by client`),
    ],
  },
  {
    call: ["nft-dnat-map-add", `${e12},80,tcp,clientip,soon,10.0.1.5:80`],
    exit: 1,
    stderr: "is not a number of seconds",
  },
  {
    call: ["nft-dnat-map-add", `${e12},80,tcp,none,0,10.0.1.5:80@10.0.1.6:80`],
    kernel: [
      ...minus(`${e12} tcp 80 10.0.1.5:80,10.0.1.6:80 by client`),
      ...plus(`${e12} tcp 80 10.0.1.5:80,10.0.1.6:80`),
    ],
  },
  { call: ["dnat-del", `${e12},80,tcp`] },
  { call: ["nft-dnat-map-del", `${e12},81,tcp`] },
  { call: ["nft-dnat-map-del", `${e12},80,tcp`], kernel: minus(`${e12} tcp 80 10.0.1.5:80,10.0.1.6:80`) },
  { call: ["nft-dnat-map-del", `${e12},80,tcp`] },
  // QoS is stored; rules and limits may come before their EIP.
  { call: ["eip-ingress-qos-add", `${e12},1,2.5,0.3`] },
  { call: ["eip-egress-qos-add", `${e12},1,0.5,0.06`] },
  { call: ["qos-add", "egress,net1,3,matchall,,,,50,10"] },
  { call: ["qos-add", "ingress,,1,u32,ip,src,198.51.100.7/32,10,10"] },
  { call: ["qos-del", "egress,net1,3,matchall,,,,50,10"] },
  { call: ["qos-del", "egress,net1,3,matchall,,,,50,10"] },
  { call: ["qos-del", "ingress,,1,u32,ip,src,198.51.100.7/32,10,10"] },
  { call: ["eip-del", `${e12}/24`], kernel: minus(hairpin(e12), `${e12}/24`) },
  { call: ["eip-ingress-qos-del", e12] },
  { call: ["eip-egress-qos-del", e12] },
  { call: ["eip-egress-qos-del", e12] },
  // Routes, all in one call.
  {
    call: ["subnet-route-add", "10.2.0.0/16,10.0.1.1", "10.3.0.0/16,10.0.1.1"],
    kernel: plus(route("10.2.0.0/16", "10.0.1.1"), route("10.3.0.0/16", "10.0.1.1")),
  },
  { call: ["subnet-route-add", "10.2.0.0/16,10.0.1.1", "10.3.0.0/16,10.0.1.1"] },
  {
    call: ["subnet-route-add", "10.2.0.0/16,10.0.1.2"],
    kernel: [...minus(route("10.2.0.0/16", "10.0.1.1")), ...plus(route("10.2.0.0/16", "10.0.1.2"))],
  },
  { call: ["subnet-route-del", "10.9.0.0/16"] },
  {
    call: ["subnet-route-del", "10.2.0.0/16", "10.3.0.0/16"],
    kernel: minus(route("10.2.0.0/16", "10.0.1.2"), route("10.3.0.0/16", "10.0.1.1")),
  },
  { call: ["subnet-route-del", "10.2.0.0/16"] },
  // A route of another program to the same destination is replaced; that of a connected subnet is not.
  {
    call: ["subnet-route-add", "10.0.0.0/8,10.0.1.2"],
    kernel: [...minus("10.0.0.0/8 via 10.0.1.1 dev eth0"), ...plus(route("10.0.0.0/8", "10.0.1.2"))],
  },
  { call: ["subnet-route-add", "10.0.1.0/24,10.0.1.2"], exit: 1, stderr: "ForeignRoute" },
  { call: ["subnet-route-del", "10.0.1.0/24"] },
  // What clashes with the gateway itself.
  refused(["eip-add", "203.0.113.254/24"], "eips/203.0.113.254: 203.0.113.254 is the gateway's own address"),
  refused(["eip-add", "203.0.113.255/24"], "eips/203.0.113.255: 203.0.113.255 is the broadcast address"),
];

/** The message names the operation and quotes the rule. */
const malformed: readonly (readonly string[])[] = [
  [],
  ["eip-add"],
  ["eip_add", `${e10}/24`],
  ["eip-add", ""],
  ["eip-add", `${e10}/24`, ""],
  ["eip-add", ` ${e10}/24`],
  ["eip-add", `${e10}/24 `],
  ["eip-add", `${e10}/24;touch /tmp/natgw-was-run`],
  ["eip-add", `$(touch /tmp/natgw-was-run)`],
  ["eip-add", `${e10}/24\neip-add`],
  ["eip-add", "300.1.1.1/24"],
  ["eip-add", "2001:db8::10/64"],
  ["eip-add", "203.0.113/24"],
  ["floating-ip-add", `"${e10}",10.0.1.5`],
  ["floating-ip-add", `'${e10}',10.0.1.5`],
  ["floating-ip-add", `${e10},10.0.1.5,10.0.1.6`],
  ["floating-ip-add", `${e10},fd00::5`],
  ["floating-ip-add", `${e10},`],
  ["snat-add", `${e10},10.0.0.0/33`],
  ["snat-add", `${e10},10.0.0.0/16,--random-fully,`],
  ["dnat-add", `${e10},80,tcp,10.0.1.5`],
  ["dnat-add", `${e10},80,icmp,10.0.1.5,80`],
  ["dnat-add", `${e10},0x50,tcp,10.0.1.5,80`],
  ["dnat-add", `${e10},70000,tcp,10.0.1.5,80`],
  ["nft-dnat-map-add", `${e10},80,tcp,10.0.1.5:80@`],
  ["subnet-route-add", "10.2.0.0/16"],
  ["subnet-route-add", "default,10.0.1.1"],
  ["qos-add", "egress,net1,3,matchall"],
  ["eip-ingress-qos-add", `${e10},1,fast,1`],
  ["init", "eth0"],
];

async function play(t: Test, gw: Gateway, form: CallingForm, rows: readonly Row[]): Promise<void> {
  let before = await kernelLines(gw);
  for (const { call, exit = 0, stdout = "", stderr = "", kernel = [] } of rows) {
    const result = await callScript(gw, form, call);
    const after = await kernelLines(gw);
    const change = differenceOf(before, after);
    t.match(
      { ...result, kernel: [...change].sort() },
      {
        exitCode: exit,
        stdout: stdout === "" ? "" : stdout,
        stderr: stderr === "" ? "" : stderr,
        kernel: [...kernel].sort(),
      },
      call.join(" "),
    );
    if (stdout === "") t.equal(result.stdout, "", `${call.join(" ")}: nothing on stdout`);
    if (stderr === "") t.equal(result.stderr, "", `${call.join(" ")}: nothing on stderr`);
    t.equal(change.length, kernel.length, `${call.join(" ")}: changes in the kernel`);
    before = after;
  }
}

/** The gate of a new namespace opens 5 s after the last write. */
async function gateOpens(gw: Gateway): Promise<void> {
  await until("the gate to open", async () => (await gw.api.status()).gate === "open");
}

for (const variant of ["iptables-nft", "iptables-legacy"] as const satisfies readonly Variant[]) {
  t.test(variant, async (t) => {
    for (const form of callingForms) {
      await t.test(`every operation, called by ${form}`, async (t) => {
        const gw = await Gateway.start(t, variant, {}, { isSilent: true });
        await play(t, gw, form, beforeInit);
        await play(t, gw, form, operations);
        for (const call of malformed) {
          const { exitCode, stdout, stderr } = await callScript(gw, form, call);
          const name = JSON.stringify(call);
          t.equal(exitCode, 1, name);
          t.equal(stdout, "", `${name}: nothing on stdout`);
          t.match(stderr, call.length < 2 || call[0] === "eip_add" ? /missing|no operation/ : call[0], name);
        }
        await gateOpens(gw);
        await gw.expectConverged(t);
      });
    }
  });
}

t.test("other interfaces by init: the agent serves them from then on, also after a restart", async (t) => {
  const gw = await Gateway.make(t, "iptables-nft", {}, { isSilent: true });
  await gw.lab.ip(
    "gw",
    ...[
      ["eth0", "vpc0"],
      ["net1", "ext0"],
    ].flatMap(([before, after]) => [
      `link set ${before} down`,
      `link set ${before} name ${after}`,
      `link set ${after} up`,
    ]),
  );
  await gw.startAgent().whenReady();
  t.match(await callScript(gw, "argv", ["init"]), { exitCode: 1, stderr: "interface eth0 does not exist" });
  const init = ["init", "vpc0,ext0"] as const;
  t.same(await callScript(gw, "argv", init), { exitCode: 0, stdout: "", stderr: "" });
  await gw.agent.kill();
  await gw.loseState();
  await gw.startAgent({ NATGW_ADOPT: "auto" }).whenReady();
  t.match(
    await gw.api.status(),
    { interfaces: { vpc: { name: "vpc0" }, external: { name: "ext0" } } },
    "a container that loses its state right after init finds the names in the kernel",
  );
  for (const call of [init, ["eip-add", "203.0.113.10/24"], ["floating-ip-add", "203.0.113.10,10.0.1.5"]])
    t.same(await callScript(gw, "argv", call), { exitCode: 0, stdout: "", stderr: "" }, call.join(" "));
  const held = async () =>
    (await gw.lab.exec("gw", ["ip", "-4", "-o", "address", "show", "dev", "ext0"])).includes(
      "203.0.113.10/24",
    );
  t.ok(await held());
  t.ok((await gw.rules("nat")).includes(hairpin("203.0.113.10").replace("eth0", "vpc0")));
  t.match(await gw.api.status(), { interfaces: { vpc: { name: "vpc0" }, external: { name: "ext0" } } });
  await gateOpens(gw);
  await gw.expectConverged(t);
  await gw.agent.stop();
  const watch = await gw.watch();
  await gw.startAgent().whenReady();
  t.same(await watch.stop(), [], "a restart writes nothing");
  t.same(await callScript(gw, "argv", ["init"]), { exitCode: 0, stdout: "", stderr: "" });
  t.ok(await held());
  await gw.expectConverged(t);
});

t.test("an agent that starts is waited for, one that is not there is named", async (t) => {
  const gw = await Gateway.make(t, "iptables-nft", {}, { isSilent: true });
  const [absent, version] = await Promise.all([
    callScript(gw, "argv", ["init"], { NATGW_SOCKET: "/run/no-agent.sock" }),
    Promise.all(Array.from({ length: 12 }, () => callScript(gw, "string", ["get-iptables-version"]))),
  ]);
  t.match(absent, { exitCode: 1, stdout: "", stderr: "the agent does not answer on /run/no-agent.sock" });
  for (const one of version)
    t.match(one, { exitCode: 0, stdout: /^iptables v[0-9]+(\.[0-9]+)+/, stderr: "" });
  const early = callScript(gw, "argv", ["init"], { LANG: "xx_XX.UTF-8", PERL5OPT: "-w" });
  await new Promise((resolve) => setTimeout(resolve, 500));
  await gw.startAgent().whenReady();
  t.same(await early, { exitCode: 0, stdout: "", stderr: "" });
});

t.test("without GATEWAY_V4 the first call starts the agent", async (t) => {
  const gw = await Gateway.make(t, "iptables-nft", {}, { isSilent: true });
  const calls = join(gw.toolbox.directory, "supervisor-calls");
  const supervisor = join(gw.toolbox.directory, "natgw-supervisor");
  await writeFile(supervisor, `#!/bin/sh\necho "$*" >>${calls}\n`, { mode: 0o755 });
  const PATH = `${gw.toolbox.directory}:${process.env.PATH}`;
  const called = async (env: Readonly<Record<string, string>>) => {
    await rm(calls, { force: true });
    const call = callScript(gw, "argv", ["init"], { PATH, ...env }, 1_500);
    await call;
    return readFile(calls, "utf8").catch(() => "");
  };
  t.equal(await called({}), "start\n", "once a call");
  t.equal(await called({ GATEWAY_V4: "" }), "", "the pod's process 1 starts it");
  await gw.startAgent().whenReady();
  t.equal(await called({}), "", "it runs");
});

t.test("a call that is killed is called again, and the gate opens 5 s after the last", async (t) => {
  const gw = await Gateway.start(t, "iptables-nft", {}, { isSilent: true });
  await callScript(gw, "argv", ["init"]);
  const fips = Array.from({ length: 20 }, (_, index) => `203.0.113.${20 + index},10.0.1.${20 + index}`);
  for (const [index, fip] of fips.entries()) {
    const killed = await callScript(gw, "argv", ["floating-ip-add", fip], {}, 5 * (index + 1));
    const again = await callScript(gw, "argv", ["floating-ip-add", fip]);
    t.same(again, { exitCode: 0, stdout: "", stderr: "" }, `${fip} after ${killed.exitCode}`);
  }
  const rules = (await gw.rules("nat")).filter((line) => /EXCLUSIVE_[DS]NAT -/.test(line));
  t.equal(rules.length, 2 * fips.length, "each rule once");
  t.equal((await gw.api.status()).gate, "closed");
  await gateOpens(gw);
  await gw.expectConverged(t);
});

t.test("what the kernel refuses fails at once, and no removal waits for it", async (t) => {
  const gw = await Gateway.start(t, "iptables-nft", {}, { isSilent: true });
  const succeeds = async (...call: readonly string[]) =>
    t.same(await callScript(gw, "argv", call), { exitCode: 0, stdout: "", stderr: "" }, call.join(" "));
  await succeeds("init");
  await succeeds("eip-add", "203.0.113.10/24");
  for (const call of [
    ["floating-ip-add", "203.0.113.11,10.0.1.5"],
    ["snat-add", "203.0.113.10,10.0.1.0/24"],
    ["dnat-add", "203.0.113.10,80,tcp,10.0.1.6,80"],
    ["nft-dnat-map-add", "203.0.113.10,81,tcp,10.0.1.5:80@10.0.1.6:80"],
    ["eip-egress-qos-add", "203.0.113.10,1,2,1"],
    ["subnet-route-add", "10.2.0.0/16,10.0.1.1"],
  ])
    await succeeds(...call);
  // Its next hop is behind no interface, so the kernel refuses it as often as it is tried.
  const unreached = ["subnet-route-add", "10.3.0.0/16,192.0.2.1"] as const;
  for (const attempt of [1, 2])
    t.match(
      await callScript(gw, "argv", unreached, {}, 10_000),
      {
        exitCode: 1,
        stdout: "",
        stderr: "routes/10.3.0.0-16 is not programmed: Pending: Nexthop has invalid gateway",
      },
      `attempt ${attempt}`,
    );
  t.match(await gw.api.plan(), { changes: [{ action: "add", object: "routes/10.3.0.0-16" }] });
  for (const call of [
    ["floating-ip-del", "203.0.113.11"],
    ["snat-del", "203.0.113.10,10.0.1.0/24"],
    ["dnat-del", "203.0.113.10,80,tcp"],
    ["nft-dnat-map-del", "203.0.113.10,81,tcp"],
    ["eip-egress-qos-del", "203.0.113.10"],
    ["subnet-route-del", "10.2.0.0/16"],
    ["eip-del", "203.0.113.10/24"],
  ])
    await succeeds(...call);
  await gw.lab.ip("gw", "address add 192.0.2.2/24 dev eth0");
  await until("the route to be there", async () =>
    (await gw.lab.exec("gw", ["ip", "route"])).includes("10.3.0.0/16 via 192.0.2.1"),
  );
  await succeeds("subnet-route-del", "10.3.0.0/16");
  await gw.expectConverged(t);
});
