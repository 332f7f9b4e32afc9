/** The ports of an EIP towards one destination run out: `ports`, `top` and the metrics tell, from a real table. */
import t from "tap";
import { Gateway } from "../support/gateway.ts";
import { injectFlows, tcpState } from "../support/injected-flows.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp } from "../support/targets.ts";

interface Ports {
  readonly destinations: readonly {
    readonly dst: string;
    readonly live: number;
    readonly newPerSecond: number | null;
    readonly secondsToFull: number | null;
  }[];
  readonly scannedAt: string;
}

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11)],
  snats: [{ name: "all", eip: "eip-10", internalCIDR: "10.0.1.0/24" }],
};
const server = { destination: "198.51.100.7", port: 443, eip: "203.0.113.10" };
const [pod1, pod2] = ["10.0.1.5", "10.0.1.6"] as const;
/** Enough for the next scan, and the one after it. */
const scansMs = 60_000;

t.test("one EIP's ports towards one destination", async (t) => {
  const gw = await Gateway.start(t, "nftables");
  t.match(await gw.api.putSet(set), { status: 200 });
  const ports = async () => (await gw.api.call<Ports>("GET", "/v1/eips/eip-10/ports")).body;
  const metric = async (name: string) => {
    const body = await gw.api.metrics();
    const line = body.split("\n").find((line) => line.startsWith(`${name} `));
    return line === undefined ? undefined : Number(line.slice(name.length + 1));
  };
  const namespace = gw.lab.namespaceOf("gw");
  t.match(await ports(), { capacity: 64_512, headroom: 64_512, destinations: [] }, "no flows");

  // Real flows beside them.
  const stream = await gw.host("pod2").open(outsideTcp);
  t.ok(await stream.advance(5_000));
  const pod = { ...server, state: tcpState.established };
  await injectFlows(namespace, { ...pod, client: pod1, firstPort: 1_024, count: 500 });
  const few = await until(
    "a scan of these",
    async () => {
      const found = await ports();
      return found.destinations[0]?.live === 500 && found;
    },
    scansMs,
  );
  t.equal(await metric('natgw_eip_port_utilization_ratio{eip="eip-11"}'), 0);
  t.equal((await gw.api.delete("eips/eip-11")).status, 204);
  // A scan of many takes its time to be paid off, so the last ones come last.
  await injectFlows(
    namespace,
    { ...pod, client: pod1, firstPort: 1_524, count: 47_500 },
    { ...pod, client: pod2, firstPort: 49_024, count: 14_000 },
    { ...server, client: pod2, firstPort: 63_024, count: 1_500, state: tcpState.timeWait },
  );
  const full = await until(
    "a later scan",
    async () => {
      const found = await ports();
      return found.destinations[0]?.live === 62_000 && found;
    },
    scansMs,
  );
  const [worst] = full.destinations;
  t.match(full, {
    capacity: 64_512,
    headroom: 2_512,
    uncounted: 0,
    destinations: [
      {
        dst: "198.51.100.7",
        dport: 443,
        protocol: "tcp",
        live: 62_000,
        closing: 1_500,
        ratio: 0.9611,
        topClients: [
          { ip: pod1, ports: 48_000, share: 0.7742 },
          { ip: pod2, ports: 14_000 },
        ],
        secondsTo80: 0,
        additionalEipsNeeded: 1,
      },
      { dst: "203.0.113.1", dport: 80, live: 1, ratio: 0 },
    ],
  });
  const seconds = (Date.parse(full.scannedAt) - Date.parse(few.scannedAt)) / 1000;
  t.ok(Math.abs((worst?.newPerSecond ?? 0) - 63_000 / seconds) < 63_000 / seconds / 2, "as they came");
  t.ok((worst?.secondsToFull ?? 0) > 0 && (worst?.secondsToFull ?? 0) <= 60, "the rest lasts seconds");

  t.match((await gw.api.call("GET", "/v1/flows/top?by=clients&limit=2")).body, {
    items: [
      { ip: pod1, live: 48_000 },
      { ip: pod2, live: 14_001 },
    ],
  });
  t.match((await gw.api.call("GET", "/v1/flows/top?by=eips")).body, {
    items: [{ eip: "eip-10", ip: "203.0.113.10", live: 62_001, closing: 1_500 }],
  });

  const scans = await metric("natgw_conntrack_scan_duration_seconds_count");
  const connections = (state: string) =>
    metric(`natgw_eip_connections{eip="eip-10",protocol="tcp",state="${state}"}`);
  t.equal(await connections("established"), 62_001);
  t.equal(await connections("closing"), 1_500);
  t.equal(await metric('natgw_eip_ports_used{eip="eip-10",protocol="tcp"}'), 62_000);
  t.equal(await metric('natgw_eip_port_utilization_ratio{eip="eip-10"}'), 62_000 / 64_512);
  t.equal(await metric('natgw_eip_port_utilization_ratio{eip="eip-11"}'), undefined, "gone with its Eip");
  t.equal(await metric('natgw_eip_additional_needed{eip="eip-10"}'), 1);
  for (let scrape = 0; scrape < 20; scrape++) await metric("natgw_ready");
  const later = await metric("natgw_conntrack_scan_duration_seconds_count");
  t.ok((later ?? 0) - (scans ?? 0) <= 1, "scrapes and requests start no scan");

  await stream.close();
  t.equal((await gw.api.call("GET", "/v1/eips/eip-11/ports")).status, 404);
});
