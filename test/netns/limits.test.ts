/** Limits: what the kernel holds of them, with traffic through it, over each dataplane; changes, restarts and damage. */
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, gateway, outsideTcp, outsideUdp, tcp } from "../support/targets.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  snats: [{ name: "snat", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
};
const onEip = (direction: string, rateMbit: number) => ({ eip: "eip-10", direction, rateMbit });
const onDevice = (direction: string, rateMbit: number, match?: object) => ({
  interface: "external",
  direction,
  rateMbit,
  ...(match && { match }),
});
const peer = "203.0.113.7/32";

const tc = (gw: Gateway, ...args: readonly string[]) => gw.lab.exec("gw", ["tc", ...args]);
const nft = (gw: Gateway, input: string) => gw.lab.exec("gw", ["nft", input]);

/** Qdiscs, classes and the table, without counters. */
async function held(gw: Gateway): Promise<string> {
  const classes = await Promise.all(["net1", "eth0"].map((nic) => tc(gw, "-d", "class", "show", "dev", nic)));
  const qdiscs = (await tc(gw, "qdisc", "show")).split("\n").filter((line) => / dev (net1|eth0) /.test(line));
  const tables = await nft(gw, "list tables");
  const table = tables.includes("natgw_qos") ? await nft(gw, "list table ip natgw_qos") : "";
  const text = [...classes, ...qdiscs].join("\n").replaceAll(/direct_packets_stat \d+/g, "");
  return `${sorted(text)}\n${sorted(table)}`;
}

function sorted(text: string): string {
  return text.split("\n").sort().join("\n");
}

/** The same without the numbers that the kernel gives queues. */
const withoutHandles = (text: string) => sorted(text.replaceAll(/\b[89a-f][0-9a-f]{3}:/g, "N:"));

/** Bytes that classes with this rate have sent. */
async function sent(gw: Gateway, nic: string, rate: string): Promise<number> {
  const text = await tc(gw, "-s", "class", "show", "dev", nic);
  const found = text.matchAll(new RegExp(`leaf .* rate ${rate} [^]*?Sent (\\d+) bytes`, "g"));
  return Array.from(found, ([, bytes]) => Number(bytes)).reduce((sum, bytes) => sum + bytes, 0);
}

/** Kube-OVN's check R9. */
async function expectRates(t: Test, gw: Gateway, nic: string, ...rates: readonly string[]) {
  const text = await tc(gw, "class", "show", "dev", nic);
  const leaves = text.split("\n").filter((line) => line.includes("leaf") && !line.includes("rate 8Kbit"));
  t.same(leaves.map((line) => / rate (\S+) /.exec(line)?.[1]).sort(), rates.toSorted(), `rates on ${nic}`);
}

async function put(t: Test, gw: Gateway, name: string, body: object) {
  t.match(await gw.api.put(`limits/${name}`, body, "?wait=5s"), { status: 200 }, name);
}

/** 400 datagrams at once: more than twice what a limit of 0.8 Mbit/s that polices lets pass. */
const burst = `
  const socket = require("node:dgram").createSocket("udp4");
  const [host, port] = process.argv.slice(1);
  let left = 400;
  for (let at = 0; at < 400; at++) socket.send(Buffer.alloc(1400), port, host, () => --left || socket.close());
`;

t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    const passes = async (t: Test) => {
      t.match(await outside.ask(tcp(eipAddress(10))), { answeredBy: "pod1" });
      t.match(await pod1.ask(outsideTcp), { seenAs: eipAddress(10) });
      t.match(await pod2.ask(outsideTcp), { seenAs: eipAddress(11) });
    };
    t.match(await gw.api.putSet(set, "?wait=10s"), { status: 200, body: { notReady: [] } });
    const fresh = await held(gw);
    t.notMatch(fresh, /htb|natgw_qos/, "without a limit there is nothing");
    t.notMatch(await gw.lab.exec("gw", ["ip", "link", "show"]), "ifb-net1");

    await t.test("limits of an EIP and of the device, in both directions", async (t) => {
      await put(t, gw, "in", onEip("ingress", 10));
      await put(t, gw, "out", onEip("egress", 20));
      await put(t, gw, "all-in", onDevice("ingress", 50));
      await put(t, gw, "all-out", onDevice("egress", 50));
      await put(t, gw, "peer", { ...onDevice("egress", 5, { dst: peer }), priority: 1 });
      await expectRates(t, gw, "net1", "20Mbit", "5Mbit");
      await expectRates(t, gw, "ifb-net1", "10Mbit");
      t.match(await tc(gw, "class", "show", "dev", "net1"), "htb 1:1 root rate 50Mbit");
      const before = await Promise.all([sent(gw, "net1", "20Mbit"), sent(gw, "eth0", "10Mbit")]);
      await passes(t);
      const after = await Promise.all([sent(gw, "net1", "20Mbit"), sent(gw, "eth0", "10Mbit")]);
      t.ok(
        after.every((bytes, at) => bytes > (before[at] ?? 0)),
        `${before} to ${after} bytes`,
      );
      await until("the metrics to count the same, without a pass", async () => {
        const metrics = await gw.api.metrics();
        const count = (direction: string) =>
          Number(
            new RegExp(`^natgw_qos_bytes_total\\{eip="eip-10",direction="${direction}"\\} (\\d+)$`, "m").exec(
              metrics,
            )?.[1],
          );
        return count("egress") >= (after[0] ?? 0) && count("ingress") >= (after[1] ?? 0);
      });
      t.ok((await sent(gw, "net1", "8Kbit")) > 0, "the other EIP is below the device alone");
      await gw.expectConverged(t);
    });

    await t.test("a new rate changes the class in place", async (t) => {
      const handle = async () =>
        /htb (1:\w+) .* rate [24]0Mbit/.exec(await tc(gw, "class", "show", "dev", "net1"))?.[1];
      const before = await handle();
      const stream = await pod1.open(outsideTcp);
      t.ok(await stream.advance(5));
      await put(t, gw, "out", { ...onEip("egress", 40), burstMB: 0.3 });
      await expectRates(t, gw, "net1", "40Mbit", "5Mbit");
      t.equal(await handle(), before);
      t.ok(await stream.advance(50_000));
      t.ok((await stream.close()).isIntact);
      await put(t, gw, "all-out", onDevice("egress", 44));
      t.match(
        await tc(gw, "class", "show", "dev", "net1"),
        /leaf .* rate 8Kbit ceil 40Mbit/,
        "more than the device has",
      );
      await put(t, gw, "all-out", onDevice("egress", 45));
      await expectRates(t, gw, "net1", "40Mbit", "5Mbit");
    });

    await t.test("a restart writes nothing", async (t) => {
      await gw.agent.stop();
      const [before, watch] = [await held(gw), await gw.watch()];
      await gw.startAgent().whenReady();
      t.equal((await gw.api.reconcile()).changed, 0);
      t.same(await watch.stop(), []);
      t.equal(await held(gw), before, "the queues are the same ones");
      t.match((await gw.api.get("limits/out")).body, { status: { ready: true } });
    });

    // The rest is the same over each.
    if (dataplane !== "nftables") return;

    await t.test("damage by hand is repaired", async (t) => {
      const before = await held(gw);
      const leaf = /htb (1:\w+) .* rate 40Mbit/.exec(before)?.[1] ?? "";
      const table = "ip natgw_qos";
      const harms: readonly (readonly string[])[] = [
        ["tc", "class", "delete", "dev", "net1", "classid", leaf],
        ["tc", "class", "change", "dev", "net1", "parent", "1:1", "classid", leaf, "htb", "rate", "1mbit"],
        ["tc", "qdisc", "replace", "dev", "net1", "parent", leaf, "pfifo", "limit", "3"],
        ["tc", "class", "add", "dev", "net1", "parent", "1:1", "classid", "1:fffa", "htb", "rate", "1mbit"],
        ["tc", "qdisc", "delete", "dev", "net1", "root"],
        ["tc", "qdisc", "delete", "dev", "eth0", "root"],
        ["ip", "link", "property", "del", "dev", "eth0", "altname", "ifb-net1"],
      ];
      for (const harm of harms) {
        await gw.lab.exec("gw", harm);
        t.same((await gw.api.reconcile()).failed, [], harm.join(" "));
        t.equal(withoutHandles(await held(gw)), withoutHandles(before));
        await tc(gw, "class", "show", "dev", "ifb-net1");
      }
      for (const harm of [
        `delete table ${table}`,
        `flush map ${table} eips_0`,
        `add element ${table} eips_0 { 192.0.2.1 : 1:1 }`,
        `insert rule ${table} postrouting drop`,
        `flush chain ${table} postrouting`,
      ]) {
        await nft(gw, harm);
        await gw.api.reconcile();
        t.equal(withoutHandles(await held(gw)), withoutHandles(before), harm);
      }
      await passes(t);
      await gw.expectConverged(t);
    });

    await t.test("a root qdisc of another program stays, and the limits police", async (t) => {
      // In one step: the agent puts its own back as soon as there is none.
      await tc(gw, "qdisc", "replace", "dev", "net1", "root", "handle", "5:", "bfifo", "limit", "100000");
      await gw.api.reconcile();
      t.match(await tc(gw, "qdisc", "show", "dev", "net1"), "qdisc bfifo 5: root");
      t.match(
        await nft(gw, "list table ip natgw_qos"),
        /203\.0\.113\.10 limit rate over 5000000 bytes\/second/,
      );
      t.match((await gw.api.get("limits/out")).body, { status: { ready: true } });
      await put(t, gw, "out", onEip("egress", 16));
      t.match(
        await nft(gw, "list table ip natgw_qos"),
        /203\.0\.113\.10 limit rate over 2000000 bytes\/second/,
      );
      await passes(t);
      const dropped = async () => {
        const body = await gw.api.metrics();
        const series = /^natgw_dropped_packets_total\{reason="policy",direction="egress"\} (\d+)$/m;
        return Number(series.exec(body)?.[1]);
      };
      await put(t, gw, "out", onEip("egress", 0.8));
      const { address, port } = outsideUdp;
      await gw.lab.exec("pod1", [process.execPath, "-e", burst, address, String(port)]);
      // After a reading of the counters the next one waits.
      const before = await until("the drops to be read", async () => (await dropped()) || undefined);
      t.ok(before > 100 && before <= 400, `${before} of 400 packets were dropped`);
      await put(t, gw, "net", { ...onDevice("egress", 10, { dst: "198.51.100.0/24" }) });
      const table = await nft(gw, "list table ip natgw_qos");
      t.match(
        table,
        new RegExp(`counter policy_egress {\\s+packets ${before} `),
        "a table that is made again goes on",
      );
      t.equal((await gw.api.delete("limits/net")).status, 204);
      await put(t, gw, "out", onEip("egress", 16));
      await gw.expectConverged(t);
      await tc(gw, "qdisc", "delete", "dev", "net1", "root");
      await gw.api.reconcile();
      await expectRates(t, gw, "net1", "16Mbit", "5Mbit");
    });

    await t.test("a limit comes before its EIP and outlives it", async (t) => {
      const early = await gw.api.put("limits/early", { eip: "eip-12", direction: "egress", rateMbit: 2 });
      t.match(early, { status: 202, body: { status: { conditions: [{}, { reason: "EipNotFound" }] } } });
      t.equal((await gw.api.put("eips/eip-12", { address: "203.0.113.12/24" })).status, 200);
      t.match((await gw.api.get("limits/early")).body, { status: { ready: true } });
      await expectRates(t, gw, "net1", "16Mbit", "5Mbit", "2Mbit");
      t.equal((await gw.api.delete("limits/early")).status, 204);
      for (const direction of ["egress", "ingress"]) {
        const far = await gw.api.put("limits/far", { interface: "net9", direction, rateMbit: 2 });
        t.match(far.body, { status: { conditions: [{}, { reason: "InterfaceNotFound" }] } }, direction);
        t.equal((await gw.api.delete("limits/far")).status, 204);
      }
    });

    await t.test("what is left of limits that go: the root qdiscs and the name", async (t) => {
      t.equal((await gw.api.delete("limits/out")).status, 204);
      await gw.api.reconcile();
      await expectRates(t, gw, "net1", "5Mbit");
      await expectRates(t, gw, "ifb-net1", "10Mbit");
      t.match(await gw.api.putSet({ ...set, generation: 2 }, "?wait=5s"), { status: 200 });
      t.equal(await tc(gw, "class", "show", "dev", "net1"), "");
      t.equal(await tc(gw, "class", "show", "dev", "ifb-net1"), "");
      t.match(await tc(gw, "qdisc", "show", "dev", "net1"), "qdisc htb 1: root");
      t.notMatch(await nft(gw, "list tables"), "natgw_qos");
      await passes(t);
      await gw.expectConverged(t);
      const metrics = await gw.api.metrics();
      t.notMatch(metrics, /natgw_qos_bytes_total\{/, "the series are gone with their limits");
    });
  });
}
