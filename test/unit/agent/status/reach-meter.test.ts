/** The series of EIPs that answer ARP. */
import { Gauge, Registry } from "prom-client";
import t from "tap";
import { ReachMeter } from "../../../../agent/status/reach-meter.ts";
import { runSync } from "../../../../lib/chunked.ts";

t.test("a series for each Eip about which something is known, up to the limit", async (t) => {
  const gauge = new Gauge({ name: "x", help: "x", labelNames: ["eip"], registers: [new Registry()] });
  const meter = new ReachMeter(gauge, 2);
  const eips = ["a", "b", "c", "d"].map((name, index) => ({ name, address: `203.0.113.${10 + index}` }));
  const seriesAfter = async (answers: Readonly<Record<string, boolean>>) => {
    runSync(meter.update(eips, new Map(Object.entries(answers))));
    const { values } = await gauge.get();
    return Object.fromEntries(values.map(({ labels, value }) => [labels.eip, value]));
  };
  t.same(await seriesAfter({}), {});
  t.same(await seriesAfter({ "203.0.113.11": true, "203.0.113.99": false }), { b: 1 });
  t.same(await seriesAfter({ "203.0.113.11": false, "203.0.113.12": true, "203.0.113.13": true }), {
    b: 0,
    c: 1,
  });
  t.same(await seriesAfter({ "203.0.113.13": true }), { d: 1 }, "series vanish");
});
