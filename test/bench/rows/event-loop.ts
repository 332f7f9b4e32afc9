/** Row 15: the longest delay of the event loop while a very large set is put, changed and read. */
import { readMetrics } from "../agent-metrics.ts";
import { Mover, timeChange } from "../changes.ts";
import type { Measurement, Row } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { fipsOnly } from "../scenario.ts";

/** Times the objects of the other rows. */
const factor = 5;
const allowed = 50;
const reads = ["eips", "fips", "desired", "plan", "status", "inventory"] as const;

export const eventLoopRow: Row = {
  id: "15",
  title: "the event loop with five times the objects",
  // By address the kernel alone would take a minute.
  dataplanes: ["nftables-route"],
  async measure(bench) {
    await bench.clear();
    const { runs } = bench.settings;
    const objects = factor * bench.settings.objects;
    const plant = await bench.plant();
    const mover = new Mover(objects);
    const acts: readonly (readonly [string, () => Promise<unknown>])[] = [
      ["PUT of the set", () => plant.load(fipsOnly(objects))],
      ["POST /v1/reconcile", () => plant.api.reconcile()],
      ["one FIP change", () => timeChange(plant, mover)],
      ...reads.map((path) => [`GET /v1/${path}`, () => plant.api.get(path)] as const),
    ];
    const found: Measurement[] = [];
    await plant.profiled("event-loop", async () => {
      for (const [what, act] of acts) {
        const samples: number[] = [];
        for (let run = 0; run < runs; run++) {
          await longestDelayMs(plant);
          await act();
          samples.push(await longestDelayMs(plant));
        }
        bench.say(`${what}: ${Math.round(Math.max(...samples))} ms`);
        found.push({
          what: `longest delay, ${what}, ${objects} EIPs and FIPs`,
          unit: "ms",
          samples,
          allowed,
        });
      }
    });
    await bench.clear();
    return found;
  },
};

/** Since the last call. */
async function longestDelayMs({ api }: Plant): Promise<number> {
  return (await readMetrics(api))("nodejs_eventloop_lag_max_seconds") * 1000;
}
