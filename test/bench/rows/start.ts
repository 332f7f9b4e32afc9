/** Row 13: from the fork of an agent to its first verified pass. */
import type { Bench } from "../bench.ts";
import { dataplaneNames } from "../dataplanes.ts";
import type { Measurement, Row } from "../measurement.ts";
import { fipsOnly } from "../scenario.ts";
import { inTurns, timeCommands } from "../timing.ts";

const emptyNode = { argv: [process.execPath, "-e", "0"] };

export const startRow: Row = {
  id: "13",
  title: "a start, to the first verified pass",
  dataplanes: dataplaneNames,
  async measure(bench) {
    await bench.clear();
    const { objects } = bench.settings;
    return [
      await sameNamespace(bench, 5, 4),
      await sameNamespace(bench, objects, 10),
      await newNamespace(bench, objects),
    ];
  },
};

/** Over the kernel that the agent before left. Each FIP is two objects, with its EIP. */
async function sameNamespace(bench: Bench, fips: number, allowed: number): Promise<Measurement> {
  const plant = await bench.plant();
  await plant.load(fipsOnly(fips));
  const samples = await inTurns(bench.settings.runs, {
    measured: () => plant.restart(),
    base: () => timeCommands(plant.gateway, [emptyNode]),
  });
  await bench.clear();
  return {
    what: `same namespace, ${fips} EIPs and FIPs`,
    unit: "ms",
    samples: samples.measured,
    base: { what: "an empty Node process", samples: samples.base },
    allowed,
  };
}

async function newNamespace(bench: Bench, fips: number): Promise<Measurement> {
  const scenario = fipsOnly(fips);
  const plant = await bench.plant();
  await plant.load(scenario);
  const bare = await bench.barePlant();
  const samples = await inTurns(bench.settings.runs, {
    measured: () => plant.restart(() => plant.renewNamespace()),
    base: async () => {
      await bare.renew();
      return bare.load(bench.dataplane, scenario);
    },
  });
  await bench.clear();
  return {
    what: `a new namespace, ${fips} EIPs and FIPs`,
    unit: "ms",
    samples: samples.measured,
    base: { what: "the same by bare tools", samples: samples.base },
    allowed: 1.3,
  };
}
