/** Row 14: changes from several clients at once, each waiting until its change is Ready. */
import { Mover, timeChange } from "../changes.ts";
import { CpuMeter } from "../cpu-meter.ts";
import type { Row } from "../measurement.ts";
import { fipsOnly } from "../scenario.ts";
import { inTurns, timeOf } from "../timing.ts";

const writers = 8;
const smallSet = 100;
/** The changes per second with the whole set are to be at least 0.8 of those among few objects. */
const allowed = 1 / 0.8;

export const writersRow: Row = {
  id: "14",
  title: `changes from ${writers} writers`,
  dataplanes: ["nftables", "nftables-route"],
  async measure(bench) {
    await bench.clear();
    const { objects, runs, isQuick } = bench.settings;
    const changes = isQuick ? 200 : 1_000;
    const [large, small] = [await bench.plant(), await bench.plant()];
    await large.load(fipsOnly(objects));
    await small.load(fipsOnly(smallSet));
    const cpus = [new CpuMeter(), new CpuMeter()] as const;
    const runOf = (plant: typeof large, mover: Mover, cpu: CpuMeter) => () =>
      cpu.agent(plant.pid, async () => {
        const ms = await timeOf(() =>
          Promise.all(
            Array.from({ length: writers }, async () => {
              for (let turn = 0; turn < changes / writers; turn++) await timeChange(plant, mover);
            }),
          ),
        );
        return ms / changes;
      });
    const samples = await large.profiled("writers", () =>
      inTurns(runs, {
        measured: runOf(large, new Mover(objects), cpus[0]),
        base: runOf(small, new Mover(smallSet), cpus[1]),
      }),
    );
    await bench.clear();
    const [ofLarge, ofSmall] = cpus.map((cpu) => cpu.agentMs / (runs * changes));
    return [
      {
        what: `one change at ${objects}, ${writers} writers`,
        unit: "ms",
        samples: samples.measured,
        base: { what: `the same among ${smallSet} objects`, samples: samples.base },
        allowed,
        notes: [
          `CPU of the agent for one change: ${ofLarge?.toFixed(2)} ms, among ${smallSet} ${ofSmall?.toFixed(2)} ms`,
        ],
      },
    ];
  },
};
