/** Row 1: programs everything from an empty gateway. */

import { dumpCommands } from "../bare.ts";
import type { Bench } from "../bench.ts";
import { CpuMeter } from "../cpu-meter.ts";
import { type DataplaneName, dataplaneNames } from "../dataplanes.ts";
import { type Measurement, type Row, Skip } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { eipAddress, fipsOnly, type Scenario, withDnatsAndSnats } from "../scenario.ts";
import { inTurns, timeCommands, timeOf } from "../timing.ts";

export const programRow: Row = {
  id: "1",
  title: "program all from empty, PUT to all Ready",
  dataplanes: dataplaneNames,
  async measure(bench) {
    await bench.clear();
    const { objects } = bench.settings;
    return [
      await measure(bench, fipsOnly(objects), `${objects} EIPs and FIPs`),
      await measure(bench, withDnatsAndSnats(objects), "the same with DNATs and SNATs"),
    ];
  },
};

/** Each run on both sides starts with a new namespace; the agent's also with a new process and an empty disk. */
async function measure(bench: Bench, scenario: Scenario, what: string): Promise<Measurement> {
  const plant = await bench.plant();
  const bare = await bench.barePlant();
  const isByRoute = bench.dataplane === "nftables-route";
  // The limit for the route binding is the load with addresses, because saving that is its purpose.
  const baseDataplane: DataplaneName = isByRoute ? "nftables" : bench.dataplane;
  if (isByRoute) await expectRouteBinding(plant);
  const cpu = new CpuMeter();
  const samples = await inTurns(bench.settings.runs, {
    measured: async (run) => {
      await plant.renew();
      const ms = await plant.profiled(`program-${run}`, () =>
        cpu.agent(plant.pid, () => timeOf(() => plant.load(scenario))),
      );
      bench.say(`${what}, run ${run + 1}: the agent ${Math.round(ms)} ms`);
      return ms;
    },
    base: async (run) => {
      await bare.renew();
      const [loadMs, dumpMs] = await cpu.tools((): readonly [number, number] => [
        bare.load(baseDataplane, scenario),
        timeCommands(bare.gateway, dumpCommands(baseDataplane)),
      ]);
      bench.say(`${what}, run ${run + 1}: bare load ${Math.round(loadMs)} ms, dump ${Math.round(dumpMs)} ms`);
      return loadMs + dumpMs;
    },
  });
  await bench.clear();
  return {
    what,
    unit: "ms",
    samples: samples.measured,
    base: {
      what: isByRoute
        ? "the address-bound load by bare tools and one dump"
        : "the same by bare tools and one dump",
      samples: samples.base,
    },
    allowed: isByRoute ? 1 / 3 : 1.1,
    notes: [cpu.note(bench.settings.runs)],
  };
}

/** An agent that does not know the setting would be measured under a wrong name. */
async function expectRouteBinding(plant: Plant): Promise<void> {
  await plant.load(fipsOnly(1));
  const addresses = await plant.lab.exec("gw", ["ip", "-4", "-o", "address", "show", "dev", "net1"]);
  if (addresses.includes(` ${eipAddress(1)}/`)) {
    throw new Skip("the agent binds EIPs by address although it was told to bind them by route");
  }
}
