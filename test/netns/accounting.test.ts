/**
 * The traffic of EIPs: what the metrics say is what the wire carried, over each dataplane, also after restarts and damage.
 * The gateway's interfaces send segments, so that the counters of the cables' other ends tell what a wire carries.
 */
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import type { Target } from "../support/host-program.ts";
import { runIn } from "../support/in-namespace.ts";
import type { HostName } from "../support/lab.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, gateway, outsideTcp, outsideUdp, tcp, udp, webDnat } from "../support/targets.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  snats: [{ name: "snat", eip: "eip-12", internalCIDR: "10.0.1.0/24" }],
  dnats: [webDnat],
};

interface Traffic {
  readonly receiveBytes: number;
  readonly receivePackets: number;
  readonly transmitBytes: number;
  readonly transmitPackets: number;
}

const names = ["receiveBytes", "receivePackets", "transmitBytes", "transmitPackets"] as const;
const ethernetHeader = 14;

const nft = (gw: Gateway, input: string) => gw.lab.exec("gw", ["nft", input]);

async function metricsOf(gw: Gateway): Promise<string> {
  // A scrape takes some CPU: without a pause, tests that wait would do nothing else.
  await delay(100);
  return await gw.api.metrics();
}

function numberOf(metrics: string, series: string): number | undefined {
  const line = metrics.split("\n").find((line) => line.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

/** `undefined` while the agent shows nothing of the Eip. */
async function counted(gw: Gateway, eip: string): Promise<Traffic | undefined> {
  const metrics = await metricsOf(gw);
  const [receiveBytes, receivePackets, transmitBytes, transmitPackets] = names.map((name) =>
    numberOf(metrics, `natgw_eip_${name.replace(/B|P/, (c) => `_${c.toLowerCase()}`)}_total{eip="${eip}"}`),
  );
  return receiveBytes === undefined
    ? undefined
    : ({ receiveBytes, receivePackets, transmitBytes, transmitPackets } as Traffic);
}

/** What left the gateway, without the frames' headers: towards the pods, and towards the outside. */
async function carried(gw: Gateway): Promise<Traffic> {
  const [vpc, out] = await Promise.all([received(gw, "gw-vpc"), received(gw, "gw-out")]);
  return {
    receiveBytes: vpc.bytes - ethernetHeader * vpc.packets,
    receivePackets: vpc.packets,
    transmitBytes: out.bytes - ethernetHeader * out.packets,
    transmitPackets: out.packets,
  };
}

/** What the other end of a cable received. */
async function received(gw: Gateway, port: string): Promise<{ bytes: number; packets: number }> {
  const text = await runIn(gw.lab.wire, ["ip", "-s", "-j", "link", "show", "dev", port]);
  const [link] = JSON.parse(text) as [{ stats64: { rx: { bytes: number; packets: number } } }];
  return link.stats64.rx;
}

function minus(one: Traffic, other: Traffic): Traffic {
  const result = names.map((name) => [name, one[name] - other[name]]);
  return Object.fromEntries(result) as unknown as Traffic;
}

const isNear = (one: number, other: number) => Math.abs(one - other) <= 0.02 * other;

/** What the traffic added to the Eip's counters is what the wire carried, which was nothing else. */
async function expectCounted(t: Test, gw: Gateway, eip: string, send: () => Promise<unknown>) {
  const before = await counted(gw, eip);
  if (before === undefined) throw new Error(`nothing is counted of ${eip}`);
  const wireBefore = await carried(gw);
  await send();
  let [wire, found] = [minus(await carried(gw), wireBefore), before];
  const isCounted = () => names.every((name) => isNear(found[name] - before[name], wire[name]));
  for (let looks = 0; looks < 40 && !isCounted(); looks++) {
    await delay(250);
    // The last acknowledgements may still be on their way when the sender ends.
    wire = minus(await carried(gw), wireBefore);
    found = (await counted(gw, eip)) ?? before;
  }
  t.ok(isCounted(), `${eip}: ${JSON.stringify(minus(found, before))} of ${JSON.stringify(wire)}`);
}

const megabytes = 1 << 21;

/** Writes all at once and ends when as much came back: in large packets, other than streams of hosts do. */
const bulkProgram = `
  const { connect } = require("node:net");
  const [host, port, bytes] = process.argv.slice(1);
  let left = Number(bytes);
  const socket = connect(Number(port), host, () => socket.write(Buffer.alloc(left, "x")));
  socket.on("data", ({ length }) => { if ((left -= length) <= 0) socket.destroy(); });
`;

async function bulk(gw: Gateway, host: HostName, { address, port }: Target) {
  const argv = [process.execPath, "-e", bulkProgram, address, String(port), String(megabytes)];
  await gw.lab.exec(host, argv);
}

t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.make(t, dataplane);
    const [outside, pod2] = [gw.host("outside"), gw.host("pod2")];
    // Large packets are cut where they leave, and not behind the counters of the cable's other end.
    await gw.lab.ip("gw", "link set net1 gso_max_segs 1", "link set eth0 gso_max_segs 1");
    await gw.startAgent().whenReady();
    t.match(await gw.api.putSet(set, "?wait=10s"), { status: 200, body: { notReady: [] } });
    await until("the counters", async () => (await counted(gw, "eip-12")) !== undefined);

    await t.test("bulk over TCP: large packets count as what they are on the wire", async (t) => {
      await expectCounted(t, gw, "eip-10", () => bulk(gw, "pod1", outsideTcp));
      await expectCounted(t, gw, "eip-10", () => bulk(gw, "outside", tcp(eipAddress(10))));
      await expectCounted(t, gw, "eip-11", () => bulk(gw, "outside", tcp(eipAddress(11), 8080)));
      await expectCounted(t, gw, "eip-12", () => bulk(gw, "pod2", outsideTcp));
      const packetsIn = async (set: string) => {
        const listing = await nft(gw, `list set ip natgw_acct ${set}`);
        return Number(/203\.0\.113\.10 counter packets ([0-9]+)/.exec(listing)?.[1] ?? 0);
      };
      t.ok((await packetsIn("in_gso")) > 0, "there were large packets");
      t.ok(
        (await packetsIn("in_push")) < (await packetsIn("in_gso")),
        "not all of them end in a short segment",
      );
    });

    await t.test("nft can load what it lists, as programs that save all rules do", async () => {
      const listing = await nft(gw, "list table ip natgw_acct");
      await gw.lab.exec("outside", ["nft", "--check", "--file", "-"], { input: listing });
    });

    await t.test("small packets", async (t) => {
      await expectCounted(t, gw, "eip-10", () => outside.flood(udp(eipAddress(10)), 600));
      await expectCounted(t, gw, "eip-12", () => pod2.flood(outsideUdp, 600));
    });

    await t.test("a restart of the agent loses nothing that passed meanwhile", async (t) => {
      const before = await counted(gw, "eip-10");
      await expectCounted(t, gw, "eip-10", async () => {
        await gw.agent.stop();
        await bulk(gw, "pod1", outsideTcp);
        const watch = await gw.watch();
        await gw.startAgent().whenReady();
        t.equal((await gw.api.reconcile()).changed, 0);
        t.same(await watch.stop(), [], "it writes nothing");
      });
      t.ok(names.every((name) => (before?.[name] ?? 0) > 0));
    });

    await t.test("what damages the table is repaired, and no counter goes back", async (t) => {
      const table = "ip natgw_acct";
      const more = [
        `flush set ${table} in`,
        `delete element ${table} eips { 203.0.113.10 }`,
        `add element ${table} eips { 192.0.2.9 }`,
        `insert rule ${table} prerouting drop`,
      ];
      for (const harm of [
        `delete table ${table}`,
        `flush table ${table}`,
        `flush set ${table} eips`,
        // The rest is the same over each dataplane.
        ...(dataplane === "nftables" ? more : []),
      ]) {
        const before = await counted(gw, "eip-10");
        await nft(gw, harm);
        t.same((await gw.api.reconcile()).failed, [], harm);
        t.same((await gw.api.plan()).changes, [], harm);
        const after = await counted(gw, "eip-10");
        t.ok(
          names.every((name) => (after?.[name] ?? 0) >= (before?.[name] ?? 0)),
          `${harm}: ${JSON.stringify(before)} to ${JSON.stringify(after)}`,
        );
      }
      await expectCounted(t, gw, "eip-10", () => bulk(gw, "pod1", outsideTcp));
      await gw.expectConverged(t);
    });

    await t.test("an EIP that comes or goes leaves the counters of others as they are", async (t) => {
      const before = await counted(gw, "eip-10");
      await expectCounted(t, gw, "eip-10", async () => {
        t.equal((await gw.api.put("eips/eip-13", { address: "203.0.113.13/24" }, "?wait=5s")).status, 200);
        await until("its counters", async () => (await counted(gw, "eip-13")) !== undefined);
        t.match(await metricsOf(gw), 'natgw_eip_info{eip="eip-13",address="203.0.113.13"} 1');
        await bulk(gw, "pod1", outsideTcp);
        t.equal((await gw.api.delete("eips/eip-13", "?wait=5s")).status, 204);
      });
      await until("its series to vanish", async () => !(await metricsOf(gw)).includes("eip-13"));
      t.ok(((await counted(gw, "eip-10"))?.receiveBytes ?? 0) > (before?.receiveBytes ?? 0));
      await gw.expectConverged(t);
    });

    await t.test("the other counters of the kernel", async (t) => {
      const metrics = await metricsOf(gw);
      for (const nic of ["eth0", "net1"])
        t.ok(
          (numberOf(metrics, `natgw_interface_receive_bytes_total{interface="${nic}"}`) ?? 0) > megabytes,
          nic,
        );
      t.equal(numberOf(metrics, "natgw_traffic_accounting"), 1);
      t.equal(numberOf(metrics, "natgw_quarantined_objects"), 0);
      for (const what of ["insert_failed", "drop", "early_drop", "clash_resolve", "invalid"])
        t.type(numberOf(metrics, `natgw_conntrack_${what}_total`), "number", what);
    });

    await t.test("nothing is left where it is turned off", async (t) => {
      await gw.agent.stop();
      await gw.startAgent({ NATGW_ACCOUNTING: "off" }).whenReady();
      await gw.api.reconcile();
      t.notMatch(await nft(gw, "list tables"), "natgw_acct");
      t.equal(await counted(gw, "eip-10"), undefined);
      await gw.expectConverged(t);
    });
  });
}
