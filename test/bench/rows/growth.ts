/** Row 11: how the cost of one change grows with the number of objects. */

import { touchedDumps } from "../bare.ts";
import { Mover, timeBareChange, timeChange } from "../changes.ts";
import { iptablesOf } from "../dataplanes.ts";
import type { Measurement, Row } from "../measurement.ts";
import { fipsOnly } from "../scenario.ts";
import { growthExponent, median } from "../statistics.ts";
import { inTurns } from "../timing.ts";

const sizes = [100, 316, 1_000, 3_162, 10_000];
const mostGrowth = 0.2;

export const growthRow: Row = {
  id: "11",
  title: "growth of one FIP change",
  dataplanes: ["iptables-nft", "nftables"],
  async measure(bench) {
    await bench.clear();
    const { dataplane, settings } = bench;
    const found: Measurement[] = [];
    const plant = await bench.plant();
    const bare = await bench.barePlant();
    for (const size of sizes.filter((size) => size <= settings.objects)) {
      bench.say(`at ${size} EIPs and FIPs`);
      await plant.load(fipsOnly(size));
      await bare.renew();
      bare.load(dataplane, fipsOnly(size));
      const [mover, bareMover] = [new Mover(size), new Mover(size)];
      await timeChange(plant, mover);
      const samples = await inTurns(settings.runs * 3, {
        measured: () => timeChange(plant, mover),
        base: () => timeBareChange(bare, dataplane, bareMover, touchedDumps(dataplane)),
      });
      found.push({
        what: `one change at ${size}`,
        unit: "ms",
        samples: samples.measured,
        base: { what: "the bare tool", samples: samples.base },
      });
    }
    await bench.clear();
    if (found.length < 2) return found;
    const usedSizes = sizes.slice(0, found.length);
    const exponent = (series: readonly (readonly number[])[]) =>
      growthExponent(series.map((samples, index) => [usedSizes[index] ?? Number.NaN, median(samples)]));
    return [
      ...found,
      {
        what: `exponent from ${usedSizes[0]} to ${usedSizes.at(-1)}`,
        unit: "exponent",
        samples: [exponent(found.map(({ samples }) => samples))],
        // iptables searches a chain to find a rule: there the cost of the tools themselves grows linearly.
        ...(iptablesOf(dataplane) === undefined && { allowed: mostGrowth }),
        notes: [`the bare tool's own: ${exponent(found.map(({ base }) => base?.samples ?? [])).toFixed(2)}`],
      },
    ];
  },
};
