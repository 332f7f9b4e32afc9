/**
 * The guard of the API alone, before a server that listens on every address of both families: by nf_tables, and by the filter
 * chains of iptables-legacy where the driver finds no nf_tables.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import t, { type Test } from "tap";
import { createApiGuardDriver } from "../../agent/kernel/api-guard/driver.ts";
import { ensureApiChains } from "../../agent/kernel/api-guard/filter-chains.ts";
import type { ConversingConnection } from "../../agent/kernel/netlink/connection.ts";
import { createRun } from "../../agent/kernel/run.ts";
import type { ApiGuard } from "../../lib/model/api-guard.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { ipv4 } from "../../lib/model/ipv4.ts";
import { iface } from "../property/lib/plan/iptables/programs.ts";
import { runIn } from "../support/in-namespace.ts";
import { addNamespaces, deleteNamespaces, ipBatch, testName } from "../support/namespaces.ts";
import { enterNftNamespace } from "../support/nft-namespace.ts";
import { until } from "../support/run.ts";

const port = 9477;
const { namespace, netlink } = await enterNftNamespace(t, "api");
const peers = { pod: testName("api-pod"), outside: testName("api-outside") } as const;
type Peer = keyof typeof peers;
const signal = new AbortController().signal;
const kernelRun = createRun();

await addNamespaces(Object.values(peers));
t.teardown(async () => {
  await deleteNamespaces(Object.values(peers));
});
const link = (peer: Peer, nic: string, network: number) => [
  `link add ${nic} type veth peer name eth0 netns ${peers[peer]}`,
  `address add 10.0.${network}.254/24 dev ${nic}`,
  `address add fd00:${network}::254/64 dev ${nic} nodad`,
  `link set ${nic} up`,
];
await ipBatch(namespace, ["link set lo up", ...link("pod", "eth0", 1), ...link("outside", "net1", 2)]);
for (const [peer, network] of [
  ["pod", 1],
  ["outside", 2],
] as const)
  await ipBatch(peers[peer], [
    `address add 10.0.${network}.1/24 dev eth0`,
    `address add fd00:${network}::1/64 dev eth0 nodad`,
    "link set eth0 up",
    `route add default via 10.0.${network}.254`,
    `route add ::/0 via fd00:${network}::254`,
  ]);

/** Answers by any address: nothing but the guard keeps anybody away. */
const server = createServer((_request, response) => response.end("in"));
for (const each of [port, port + 1]) {
  const one = each === port ? server : createServer((_request, response) => response.end("in"));
  one.listen(each, "::");
  await once(one, "listening");
  t.teardown(() => {
    one.close();
    one.closeAllConnections();
  });
}

const v4 = { interface: iface("eth0"), address: "10.0.1.254", port };
const v6 = { interface: iface("eth0"), address: "fd00:1::254", port };

/** Who gets in where the guard is in place. */
const admitted = ["self 127.0.0.1", "pod 10.0.1.254"];
const admitted6 = ["self [::1]", "pod [fd00:1::254]"];
const refused = ["pod 10.0.2.254", "outside 10.0.2.254", "outside 10.0.1.254"];
const refused6 = ["pod [fd00:2::254]", "outside [fd00:2::254]", "outside [fd00:1::254]"];

async function isIn(way: string, to = port, seconds = 5): Promise<boolean> {
  const [from = "", address] = way.split(" ");
  const where = from === "self" ? namespace : peers[from as Peer];
  const script = `curl --silent --max-time ${seconds} http://${address}:${to}/; true`;
  return (await runIn(where, ["sh", "-c", script])) === "in";
}

async function expectWays(t: Test, ways: readonly string[], isExpected: boolean): Promise<void> {
  const found = await Promise.all(ways.map((way) => isIn(way, port, isExpected ? 5 : 0.4)));
  for (const [index, way] of ways.entries()) t.equal(found[index], isExpected, way);
}

const driverOf = (guard: ApiGuard, by: ConversingConnection) =>
  createApiGuardDriver({
    netlink: by,
    guard,
    ensureChains: (until) => ensureApiChains(guard, ipv4, kernelRun, until),
  });

/** What a kernel without nf_tables answers. */
const absent = new Proxy(netlink, {
  get: () => async () => {
    const details = { code: "EPROTONOSUPPORT" };
    throw new GatewayError("netlink-failed", "there is no such subsystem", { details });
  },
});

t.test("without a guard everybody gets in", async (t) => {
  await until("addresses", () => isIn("outside [fd00:2::254]"));
  await expectWays(t, [...admitted, ...admitted6, ...refused, ...refused6], true);
});

t.test("by nf_tables, for both families", async (t) => {
  const driver = driverOf({ ports: [port], open: [v4, v6] }, netlink);
  await driver.ensure();
  await expectWays(t, [...admitted, ...admitted6], true);
  await expectWays(t, [...refused, ...refused6], false);
  t.ok(await isIn("outside 10.0.2.254", port + 1), "other ports are not its business");
  t.ok(
    [...(await driver.readDrops(signal)).values()].some(({ packets }) => packets > 0),
    "counted",
  );
  const byHand = (command: string) => runIn(namespace, ["nft", command]);
  for (const harm of ["flush table inet natgw_api", "delete table inet natgw_api"]) {
    await driver.ensure();
    await driver.observe(signal);
    t.equal(await driver.isCurrent(signal), true, "it is as last read");
    await byHand(harm);
    t.equal(await driver.isCurrent(signal), false, harm);
  }
});

t.test("without nf_tables, by the chains of iptables-legacy", async (t) => {
  const legacy = async (...args: readonly string[]) => {
    return runIn(namespace, args);
  };
  const rules = async () =>
    (await legacy("iptables-legacy-save", "-t", "filter")).split("\n").filter((line) => /^(-A|:)/.test(line));

  await t.test("a listener of IPv6 beyond loopback cannot be guarded", async (t) => {
    await t.rejects(driverOf({ ports: [port], open: [v4, v6] }, absent).ensure(), {
      code: "rules-refused",
      message: /without nf_tables nothing guards a listener on fd00:1::254/,
    });
    t.equal(await legacy("iptables-legacy-save"), "", "and nothing was written");
  });

  const driver = driverOf({ ports: [port], open: [v4] }, absent);
  await driver.ensure();
  const whole = (await rules()).map((line) => line.replace(/\[\d+:\d+\]/, ""));
  await t.test("who gets in", async (t) => {
    await expectWays(t, admitted, true);
    await expectWays(t, refused, false);
    t.ok(await isIn("outside 10.0.2.254", port + 1), "other ports are not its business");
    t.same(await driver.observe(signal), { hasNftables: false, definition: undefined });
    t.equal((await driver.readDrops(signal)).size, 0, "the gate's reading counts them");
  });

  await t.test("nor by a DNAT of another program", async (t) => {
    const dnat = [
      "-d",
      "10.0.2.254",
      "-p",
      "tcp",
      "--dport",
      "7001",
      "-j",
      "DNAT",
      "--to",
      `10.0.1.254:${port}`,
    ];
    await legacy("iptables-legacy", "-t", "nat", "-A", "PREROUTING", ...dnat);
    t.notOk(await isIn("outside 10.0.2.254", 7001, 0.4));
    t.notOk(await isIn("pod 10.0.2.254", 7001, 0.4));
    await legacy("iptables-legacy", "-t", "nat", "-F");
  });

  for (const damage of [
    ["-F", "NATGW_API"],
    ["-F", "NATGW_API_IN"],
    ["-I", "NATGW_API_IN", "-j", "ACCEPT"],
    ["-D", "NATGW_API_IN", "1"],
    ["-F", "INPUT"],
    ["-I", "INPUT", "-j", "ACCEPT"],
    ["-I", "INPUT", "-p", "tcp", "-j", "NATGW_API"],
  ])
    await t.test(`put right: ${damage.join(" ")}`, async (t) => {
      await legacy("iptables-legacy", ...damage);
      await driver.ensure();
      // A foreign rule stays, behind the agent's own.
      if (damage[0] === "-I" && damage[1] === "INPUT")
        await legacy("iptables-legacy", "-D", ...damage.slice(1));
      t.same(
        (await rules()).map((line) => line.replace(/\[\d+:\d+\]/, "")),
        whole,
      );
      const before = await legacy("iptables-legacy-save", "-c");
      await driver.ensure();
      t.equal(
        (await legacy("iptables-legacy-save", "-c")).replaceAll(/^#.*$/gm, ""),
        before.replaceAll(/^#.*$/gm, ""),
        "what is right is not written again",
      );
    });
});
