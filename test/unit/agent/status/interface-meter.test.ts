/** Counters of interfaces go on when an interface is made again, and vanish with it. */
import t from "tap";
import { InterfaceMeter } from "../../../../agent/status/interface-meter.ts";
import { createMetrics } from "../../../../agent/status/metrics.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";

const counts = (bytes: number) =>
  new Map([
    [
      "net1" as InterfaceName,
      { receiveBytes: bytes, receivePackets: 1, transmitBytes: 2 * bytes, transmitPackets: 2 },
    ],
  ]);

t.test("an interface that comes, is made again and goes", async (t) => {
  const metrics = createMetrics({ version: "1" });
  const meter = new InterfaceMeter(metrics);
  meter.update(counts(1_000));
  meter.update(counts(1_500));
  meter.update(counts(20));
  const text = await metrics.registry.metrics();
  t.match(text, 'natgw_interface_receive_bytes_total{interface="net1"} 1520\n');
  t.match(text, 'natgw_interface_transmit_bytes_total{interface="net1"} 3040\n');
  meter.update(new Map());
  t.notMatch(await metrics.registry.metrics(), 'interface="net1"');
});
