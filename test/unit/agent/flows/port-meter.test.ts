/** The series of EIPs: bounded, summed beyond the bound, and gone with their Eip. */
import t from "tap";
import { PortMeter } from "../../../../agent/flows/port-meter.ts";
import { createMetrics } from "../../../../agent/status/metrics.ts";
import { runSync } from "../../../../lib/chunked.ts";
import { viewOf } from "../../../../lib/conntrack/flow.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { Census, censusKey } from "../../../../lib/ports/census.ts";
import { flow, ip } from "../../../support/conntrack-samples.ts";

function censusOf(hosts: readonly number[], flows: readonly string[]): Census {
  const eips = new Map(
    hosts.map((host) => {
      const address = ip(`203.0.113.${host}`);
      return [censusKey(ipv4, address), { name: `eip-${host}`, address }];
    }),
  );
  const census = new Census(ipv4, eips, 0);
  for (const text of flows) census.add(viewOf(flow(text), ipv4), 0);
  return census;
}

const out = (host: number, port: number, protocol = "udp", destination = "198.51.100.7:53") =>
  `${protocol} 10.0.1.5:${port} ${destination} | ${destination} 203.0.113.${host}:${port}`;

async function series(metrics: ReturnType<typeof createMetrics>): Promise<readonly string[]> {
  const text = await metrics.registry.metrics();
  return text.split("\n").filter((line) => line.startsWith("natgw_eip_"));
}

t.test("the oldest Eips have series of their own, the others are summed", async (t) => {
  const metrics = createMetrics({ version: "1" });
  const meter = new PortMeter(metrics, 1);
  const flows = [
    out(10, 2_000),
    out(11, 2_000),
    out(11, 2_001),
    out(12, 2_002),
    out(12, 2_003, "udp", "198.51.100.8:53"),
  ];
  runSync(meter.update(censusOf([10, 11, 12], flows)));
  const lines = await series(metrics);
  t.ok(lines.includes('natgw_eip_connections{eip="eip-10",protocol="udp",state="unreplied"} 1'));
  t.ok(lines.includes('natgw_eip_connections{eip="eip-10",protocol="udp",state="established"} 0'));
  t.ok(lines.includes('natgw_eip_connections{eip="other",protocol="udp",state="unreplied"} 4'));
  t.ok(lines.includes('natgw_eip_ports_used{eip="eip-10",protocol="udp"} 1'));
  t.ok(lines.includes('natgw_eip_ports_used{eip="other",protocol="udp"} 2'), "of the worst destination");
  t.ok(lines.includes(`natgw_eip_port_utilization_ratio{eip="other"} ${2 / 64_512}`));
  t.ok(lines.includes('natgw_eip_additional_needed{eip="eip-10"} 0'));
  t.notOk(
    lines.some((line) => line.includes("sctp") || line.includes("icmp")),
    "protocols without flows have no series",
  );
});

t.test("an Eip without flows has series at 0 of what Eips usually have", async (t) => {
  const metrics = createMetrics({ version: "1" });
  const meter = new PortMeter(metrics, 10);
  runSync(meter.update(censusOf([10], [])));
  t.strictSame(await series(metrics), [
    ...["established", "transitory", "closing", "unreplied"].map(
      (state) => `natgw_eip_connections{eip="eip-10",protocol="tcp",state="${state}"} 0`,
    ),
    'natgw_eip_ports_used{eip="eip-10",protocol="tcp"} 0',
    'natgw_eip_ports_used{eip="eip-10",protocol="udp"} 0',
    'natgw_eip_port_utilization_ratio{eip="eip-10"} 0',
    'natgw_eip_additional_needed{eip="eip-10"} 0',
  ]);
  runSync(meter.update(censusOf([], [])));
  t.strictSame(await series(metrics), []);
});

t.test("a series stays at 0 without flows, and vanishes with its Eip", async (t) => {
  const metrics = createMetrics({ version: "1" });
  const meter = new PortMeter(metrics, 10);
  const sctp = out(11, 2_000, "sctp");
  const icmp = "icmp 10.0.1.5 198.51.100.7 | 198.51.100.7 203.0.113.11";
  runSync(meter.update(censusOf([10, 11], [out(10, 2_000), sctp, icmp])));
  runSync(meter.update(censusOf([10, 11], [])));
  const lines = await series(metrics);
  t.ok(lines.includes('natgw_eip_connections{eip="eip-11",protocol="sctp",state="unreplied"} 0'));
  t.ok(lines.includes('natgw_eip_connections{eip="eip-11",protocol="icmp",state="unreplied"} 0'));
  runSync(meter.update(censusOf([10], [])));
  t.strictSame(
    (await series(metrics)).filter((line) => line.includes("eip-11")),
    [],
  );
  runSync(meter.update(censusOf([], [])));
  t.strictSame(await series(metrics), []);
});
