/** Counters of EIPs never go back, are bounded, and vanish with their Eip. */
import t from "tap";
import { createMetrics } from "../../../../agent/status/metrics.ts";
import { type CountedEip, TrafficMeter } from "../../../../agent/status/traffic-meter.ts";
import { runSync } from "../../../../lib/chunked.ts";
import type { RawTraffic } from "../../../../lib/nftables/accounting.ts";

const eipOf = (host: number, address = host): CountedEip => ({
  name: `eip-${host}`,
  address: `203.0.113.${address}`,
  mtu: 1_500,
});
const traffic = (bytes: number): RawTraffic => ({
  in: { packets: bytes / 100, bytes },
  out: { packets: bytes / 50, bytes: 2 * bytes },
});

function meterOf(maxEips = 10) {
  const metrics = createMetrics({ version: "1" });
  const meter = new TrafficMeter(metrics, maxEips);
  return {
    update: (eips: readonly CountedEip[], counts: Readonly<Record<number, RawTraffic>>, isCounted = true) =>
      runSync(
        meter.update(
          eips,
          new Map(Object.entries(counts).map(([host, raw]) => [`203.0.113.${host}`, raw])),
          isCounted,
        ),
      ),
    async shown() {
      const text = await metrics.registry.metrics();
      const lines = text.matchAll(/^natgw_eip_(receive_bytes_total|info)\{eip="([^"]+)".*\} (\d+)$/gm);
      return Array.from(lines, ([, what, eip, value]) => `${eip} ${what === "info" ? "info" : value}`).sort();
    },
    text: () => metrics.registry.metrics(),
  };
}

t.test("what was counted before this process, then increases", async (t) => {
  const { update, shown, text } = meterOf();
  update([eipOf(1), eipOf(2)], { 1: traffic(1_000) });
  t.same(await shown(), ["eip-1 1000", "eip-1 info", "eip-2 0", "eip-2 info"]);
  t.match(await text(), 'natgw_eip_transmit_packets_total{eip="eip-1"} 20\n');
  update([eipOf(1), eipOf(2)], { 1: traffic(1_500), 2: traffic(100) });
  t.same(await shown(), ["eip-1 1500", "eip-1 info", "eip-2 100", "eip-2 info"]);
});

t.test("a counter that was made again goes on", async (t) => {
  const { update, shown } = meterOf();
  update([eipOf(1)], { 1: traffic(1_000) });
  update([eipOf(1)], { 1: traffic(200) });
  t.same(await shown(), ["eip-1 1200", "eip-1 info"]);
  update([eipOf(1)], {});
  update([eipOf(1)], { 1: traffic(300) });
  t.same(await shown(), ["eip-1 1500", "eip-1 info"]);
});

t.test("series vanish with their Eip, and a new one begins", async (t) => {
  const { update, shown } = meterOf();
  update([eipOf(1), eipOf(2)], { 1: traffic(1_000), 2: traffic(100) });
  update([eipOf(2)], { 2: traffic(100) });
  t.same(await shown(), ["eip-2 100", "eip-2 info"]);
  update([eipOf(2), eipOf(1)], { 1: traffic(50), 2: traffic(100) });
  t.same(await shown(), ["eip-1 50", "eip-1 info", "eip-2 100", "eip-2 info"]);
});

t.test("an Eip with another address shows that one", async (t) => {
  const { update, text } = meterOf();
  update([eipOf(1)], {});
  update([eipOf(1, 7)], {});
  t.match(await text(), 'natgw_eip_info{eip="eip-1",address="203.0.113.7"} 1');
  t.notMatch(await text(), '203.0.113.1"');
});

t.test("beyond the limit they are counted together", async (t) => {
  const { update, shown } = meterOf(1);
  const counts = { 1: traffic(1_000), 2: traffic(100), 3: traffic(10 * 100) };
  update([eipOf(1), eipOf(2), eipOf(3)], counts);
  t.same(await shown(), ["eip-1 1000", "eip-1 info", "other 1100"]);
  update([eipOf(2), eipOf(3)], { 2: traffic(200), 3: traffic(1_000) });
  t.same(await shown(), ["eip-2 100", "eip-2 info", "other 1100"], "what others counted stays");
  update([], {});
  t.same(await shown(), []);
});

t.test("two Eips that claim one address do not count it twice", async (t) => {
  const { update, shown } = meterOf();
  update([eipOf(1), eipOf(2, 1)], { 1: traffic(1_000) });
  t.same(await shown(), ["eip-1 1000", "eip-1 info", "eip-2 0", "eip-2 info"]);
});

t.test("where nothing is counted there are no counters", async (t) => {
  const { update, shown } = meterOf();
  update([eipOf(1)], {}, false);
  t.same(await shown(), ["eip-1 info"]);
});
