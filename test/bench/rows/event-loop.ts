/**
 * Row 15: the event loop while a very large set is put, changed, planned and read: its longest delay, and the most CPU time
 * of the main thread in one turn, which other work on the machine does not lengthen.
 */
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
    const plant = await bench.plant({ isMetered: true });
    const mover = new Mover(objects);
    const acts: readonly (readonly [string, () => Promise<unknown>])[] = [
      ["PUT of the set", () => plant.load(fipsOnly(objects))],
      ["POST /v1/reconcile", () => plant.api.reconcile()],
      ["one FIP change", () => timeChange(plant, mover)],
      ["a dry run of an empty set", () => plant.api.putSet({ generation: 1_000_000 }, "?dryRun=true")],
      ...reads.map((path) => [`GET /v1/${path}`, () => plant.api.get(path)] as const),
    ];
    const found: Measurement[] = [];
    await plant.profiled("event-loop", async () => {
      for (const [what, act] of acts) {
        const delays: number[] = [];
        const turns: number[] = [];
        for (let run = 0; run < runs; run++) {
          await longestDelayMs(plant);
          await plant.longestTurnMs();
          await act();
          const turn = await plant.longestTurnMs();
          if (turn !== undefined) turns.push(turn);
          delays.push(await longestDelayMs(plant));
        }
        const at = `${what}, ${objects} EIPs and FIPs`;
        bench.say(`${what}: ${most(delays)} ms, CPU ${most(turns)} ms`);
        found.push({ what: `longest delay, ${at}`, unit: "ms", samples: delays, allowed });
        if (turns.length > 0)
          found.push({ what: `CPU of the longest turn, ${at}`, unit: "ms", samples: turns, allowed });
      }
    });
    await bench.clear();
    return found;
  },
};

function most(samples: readonly number[]): string {
  return samples.length === 0 ? "?" : String(Math.round(Math.max(...samples)));
}

/** Since the last call. */
async function longestDelayMs({ api }: Plant): Promise<number> {
  return (await readMetrics(api))("nodejs_eventloop_lag_max_seconds") * 1000;
}
