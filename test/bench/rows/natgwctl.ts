/** Row 20: natgwctl from fork to exit, against an empty Node process and against a time in which a person does not wait. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Bench } from "../bench.ts";
import type { Measurement, Row } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { fipsOnly } from "../scenario.ts";
import { inTurns, timeCommands } from "../timing.ts";

const main = fileURLToPath(new URL("../../../dist/cli/main.js", import.meta.url));
const emptyNode = { argv: [process.execPath, "-e", "0"] };
const timeoutMs = 60_000;
/** A median of fewer starts of processes means little. */
const leastRuns = 7;

export const natgwctlRow: Row = {
  id: "20",
  title: "natgwctl, from fork to exit",
  dataplanes: ["nftables"],
  async measure(bench) {
    await bench.clear();
    const plant = await bench.plant();
    await plant.load(fipsOnly(5));
    const status = await measureStatus(bench, plant);
    await bench.clear();
    return [status, await measureList(bench, await bench.loaded())];
  },
};

async function measureStatus(bench: Bench, plant: Plant): Promise<Measurement> {
  const samples = await inTurns(Math.max(bench.settings.runs, leastRuns), {
    measured: () => timeNatgwctl(plant, "status"),
    base: () => timeCommands(plant.gateway, [emptyNode]),
  });
  return {
    what: "status",
    unit: "ms",
    samples: samples.measured,
    base: { what: "an empty Node process", samples: samples.base },
    allowed: 2,
  };
}

async function measureList(bench: Bench, plant: Plant): Promise<Measurement> {
  const samples = Array.from({ length: bench.settings.runs }, () => timeNatgwctl(plant, "get fips"));
  return { what: `get fips at ${bench.settings.objects}`, unit: "ms", samples, allowed: 1_000 };
}

/** In milliseconds. 1 is not a failure: it says that the gateway is degraded. */
function timeNatgwctl({ socketPath }: Plant, line: string): number {
  const start = performance.now();
  const { status, error, stderr } = spawnSync(process.execPath, [main, ...line.split(" ")], {
    env: { ...process.env, NATGW_SOCKET: socketPath },
    stdio: ["ignore", "ignore", "pipe"],
    timeout: timeoutMs,
  });
  const took = performance.now() - start;
  if (error !== undefined) throw error;
  if (status !== 0 && status !== 1) throw new Error(`natgwctl ${line} exited with ${status}: ${stderr}`);
  return took;
}
