/** Row 4: a pass over a converged gateway. */
import { setTimeout as delay } from "node:timers/promises";
import { dumpCommands } from "../bare.ts";
import { CpuMeter } from "../cpu-meter.ts";
import { dataplaneNames } from "../dataplanes.ts";
import type { Row } from "../measurement.ts";
import { inTurns, timeCommands, timeOf } from "../timing.ts";

/** The agent announces new EIPs for three seconds. */
const settlingMs = 5_000;

export const fullPassRow: Row = {
  id: "4",
  title: "a converged full pass",
  dataplanes: dataplaneNames,
  async measure(bench) {
    const { dataplane, settings } = bench;
    const plant = await bench.loaded();
    const pass = async () => {
      const { changed, failed } = await plant.api.reconcile();
      if (changed > 0 || failed.length > 0) throw new Error("the gateway is not converged");
    };
    await pass();
    await delay(settlingMs);
    const cpu = new CpuMeter();
    bench.say(`${settings.runs} passes`);
    const samples = await plant.profiled("full-pass", () =>
      inTurns(settings.runs, {
        measured: () => cpu.agent(plant.pid, () => timeOf(pass)),
        // The agent's own namespace: the dump covers what the agent reads.
        base: () => cpu.tools(() => timeCommands(plant.gateway, dumpCommands(dataplane))),
      }),
    );
    const dumps = dumpCommands(dataplane).map((command) => {
      return `${command.argv.join(" ")}: ${timeCommands(plant.gateway, [command]).toFixed(0)} ms`;
    });
    return [
      {
        what: `POST /v1/reconcile over ${settings.objects} EIPs and FIPs`,
        unit: "ms",
        samples: samples.measured,
        base: { what: "the bare dumps", samples: samples.base },
        allowed: 0.1,
        notes: [cpu.note(settings.runs), ...dumps],
      },
    ];
  },
};
