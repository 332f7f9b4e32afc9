/** Row 8: the cost of an idle gateway. */
import { setTimeout as delay } from "node:timers/promises";
import { describeHeap, readMetrics } from "../agent-metrics.ts";
import type { Bench } from "../bench.ts";
import type { Measurement, Row } from "../measurement.ts";
import { familyUsage, usageOf } from "../process-usage.ts";
import { fipsOnly } from "../scenario.ts";

/** One resync interval, so that the window always contains one resync. */
const windowMs = 30_000;
const settlingMs = 20_000;

/** EIPs and FIPs together: 10 objects. */
const fewFips = 5;

export const idleRow: Row = {
  id: "8",
  title: "idle",
  dataplanes: ["iptables-nft", "iptables-legacy", "nftables", "nftables-route"],
  async measure(bench) {
    const plant = await bench.loaded();
    await plant.api.reconcile();
    // Memory of the load is collected gradually; V8 collects once more after the agent has.
    await delay(settlingMs);
    bench.say(`watching for ${windowMs / 1000} s`);
    const { before, after } = await plant.profiled("idle", async () => {
      const before = await familyUsage(plant.pid);
      await delay(windowMs);
      return { before, after: await familyUsage(plant.pid) };
    });
    const parts = {
      "the agent itself": after.self.cpuSeconds - before.self.cpuSeconds,
      "the tools that it ran": after.self.endedSeconds - before.self.endedSeconds,
      "its monitors": after.children.cpuSeconds - before.children.cpuSeconds,
    };
    const percent = (seconds: number) => (seconds * 100_000) / windowMs;
    const cpuSeconds = Object.values(parts).reduce((sum, seconds) => sum + seconds, 0);
    const at = `at ${bench.settings.objects} EIPs and FIPs`;
    return [
      {
        what: `CPU ${at}, one resync in ${windowMs / 1000} s included`,
        unit: "%",
        samples: [percent(cpuSeconds)],
        allowed: 0.5,
        notes: Object.entries(parts).map(([who, seconds]) => `${who}: ${percent(seconds).toFixed(2)} %`),
      },
      {
        what: `RSS of the agent ${at}`,
        unit: "MiB",
        samples: [after.self.rssMiB],
        allowed: 110,
        notes: [
          `its children (the monitors) have ${after.children.rssMiB.toFixed(0)} MiB besides`,
          describeHeap(await readMetrics(plant.api)),
        ],
      },
      await fewObjectsRss(bench),
    ];
  },
};

async function fewObjectsRss(bench: Bench): Promise<Measurement> {
  const plant = await bench.plant();
  await plant.load(fipsOnly(fewFips));
  await delay(settlingMs);
  const { rssMiB } = await usageOf(plant.pid);
  return {
    what: `RSS of the agent at ${fewFips} EIPs and FIPs`,
    unit: "MiB",
    samples: [rssMiB],
    allowed: 75,
    notes: [describeHeap(await readMetrics(plant.api))],
  };
}
