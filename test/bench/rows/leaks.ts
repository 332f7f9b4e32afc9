/** Row 10: whether the agent's memory grows with the number of changes. */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describeHeap, readMetrics } from "../agent-metrics.ts";
import type { Row } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { openFiles, usageOf } from "../process-usage.ts";
import { fip, fipsOnly } from "../scenario.ts";
import { fitLine } from "../statistics.ts";

const heldFips = 100;
const writers = 8;
const checkpoints = 20;
const changesPerMs = 1.8;
const restMs = 10_000;

export const leaksRow: Row = {
  id: "10",
  title: "growth over many changes",
  dataplanes: ["iptables-nft", "nftables"],
  async measure(bench) {
    await bench.clear();
    const { isFull, isQuick } = bench.settings;
    const changes = isFull ? 100_000 : isQuick ? 2_000 : 10_000;
    const plant = await bench.plant();
    await plant.load(fipsOnly(heldFips));
    const filesBefore = await openFiles(plant.pid);
    const restingBefore = await restingMiB(plant);
    const points: (readonly [changes: number, rssKiB: number])[] = [];
    for (let point = 0; point <= checkpoints; point++) {
      if (point > 0) await change(plant, changes / checkpoints, point);
      points.push([(point * changes) / checkpoints, (await usageOf(plant.pid)).rssMiB * 1024]);
      bench.say(`${points.at(-1)?.[0]} changes: RSS ${Math.round((points.at(-1)?.[1] ?? 0) / 1024)} MiB`);
    }
    const resting = await restingMiB(plant);
    const files = await openFiles(plant.pid);
    const heap = describeHeap(await readMetrics(plant.api));
    const stateMiB = (await sizeOf(plant.stateDirectory)) / (1 << 20);
    await bench.clear();
    // The first half is warm-up: code is compiled, the heap finds its size.
    const later = points.slice(checkpoints / 2);
    return [
      {
        what: `RSS over the last half of ${changes} changes`,
        unit: "KiB per 1,000 changes",
        samples: [fitLine(later).slope * 1000],
        notes: [
          `RSS at rest ${restingBefore.toFixed(0)} MiB before, ${resting.toFixed(0)} after`,
          `at work ${rssAt(points, 0)} MiB before, ${rssAt(points, checkpoints / 2)} at half, ${rssAt(points, checkpoints)} after`,
          heap,
          `open files ${filesBefore} before, ${files} after; state on disk ${stateMiB.toFixed(1)} MiB after`,
        ],
      },
    ];
  },
};

/** Several writers change FIPs, delete them and create them again without waiting; then one writer waits. */
async function change(plant: Plant, count: number, round: number): Promise<void> {
  let next = 0;
  const write = async () => {
    for (let index = next++; index < count; index = next++) {
      const spec = fip(1 + (index % heldFips), (round + Math.floor(index / heldFips)) % 32);
      const path = `fips/${spec.name}`;
      if (index % 10 === 9) await plant.api.delete(path, "");
      else await plant.api.put(path, spec, "");
    }
  };
  // The agent could take more per second, but it refuses more than 20,000 requests in 10 s.
  await Promise.all([delay(count / changesPerMs), ...Array.from({ length: writers }, write)]);
  await plant.load(fipsOnly(heldFips));
}

/** RSS in MiB after the agent has returned unused memory. */
async function restingMiB(plant: Plant): Promise<number> {
  await delay(restMs);
  return (await usageOf(plant.pid)).rssMiB;
}

function rssAt(points: readonly (readonly [number, number])[], index: number): string {
  return ((points[index]?.[1] ?? Number.NaN) / 1024).toFixed(0);
}

async function sizeOf(directory: string): Promise<number> {
  const entries = await readdir(directory, { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async ({ name }) => (await stat(join(directory, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
