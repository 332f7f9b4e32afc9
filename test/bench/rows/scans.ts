/** Row 21: the share of a core that scans of a large connection-tracking table take. */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { FlowTable } from "../flow-table.ts";
import type { Row } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { usageOf } from "../process-usage.ts";
import { eipAddress, fip, fipsOnly } from "../scenario.ts";

const fips = 10;
const settlingMs = 20_000;
const idleMs = 20_000;
/** Asking costs the agent CPU, too: as often when it is idle. */
const askEveryMs = 2_000;
const timeLimitMs = 300_000;

export const scansRow: Row = {
  id: "21",
  title: "scans of a full flow table",
  dataplanes: ["nftables"],
  async measure(bench) {
    await bench.clear();
    const plant = await bench.plant();
    await plant.load(fipsOnly(fips));
    const room = Number(await readFile("/proc/sys/net/netfilter/nf_conntrack_max", "utf8")) - 10_000;
    const total = Math.min(bench.settings.isQuick ? 20_000 : 200_000, room);
    // Compiling and collecting garbage of the start are not over at once.
    await delay(settlingMs);
    const begunMs = performance.now();
    const idle = await shareUntil(plant, async () => performance.now() - begunMs > idleMs);
    bench.say(`creating ${total} flows`);
    const table = new FlowTable(plant.gateway);
    try {
      await table.inject(Array.from({ length: total }, (_, index) => inward(index)));
      // The first scan that saw all of them, then a whole turn: the pause after it, and the next scan.
      const first = await nextScan(plant, (live) => live >= total / fips);
      bench.say("waiting for the next scan");
      const turnMs = performance.now();
      const share = await shareUntil(plant, async () => (await lastScan(plant)).scannedAt !== first);
      const seconds = Math.round((performance.now() - turnMs) / 1_000);
      return [
        {
          what: `CPU of scans, ${total} flows in the table`,
          unit: "%",
          samples: [share - idle],
          allowed: 1,
          notes: [
            `a scan every ${seconds} s; the agent took ${share.toFixed(2)} %, without the flows ${idle.toFixed(2)} %`,
          ],
        },
      ];
    } finally {
      table.flush();
      table.close();
      await bench.clear();
    }
  },
};

interface LastScan {
  readonly scannedAt: string;
  readonly items: readonly { readonly live: number }[];
}

async function lastScan({ api }: Plant): Promise<LastScan> {
  return (await api.call<LastScan>("GET", "/v1/flows/top?by=eips&limit=1")).body;
}

/** When the first scan was that found so many flows on an EIP. */
async function nextScan(plant: Plant, isIt: (live: number) => boolean): Promise<string> {
  const endMs = performance.now() + timeLimitMs;
  while (performance.now() < endMs) {
    const { scannedAt, items } = await lastScan(plant);
    if (isIt(items[0]?.live ?? 0)) return scannedAt;
    await delay(askEveryMs);
  }
  throw new Error("no scan saw the flows");
}

/** The agent's share of a core until then, in percent. */
async function shareUntil(plant: Plant, isOver: () => Promise<boolean>): Promise<number> {
  const begunMs = performance.now();
  const before = (await usageOf(plant.pid)).cpuSeconds;
  while (!(await isOver()) && performance.now() - begunMs < timeLimitMs) await delay(askEveryMs);
  const after = (await usageOf(plant.pid)).cpuSeconds;
  return ((after - before) * 100_000) / (performance.now() - begunMs);
}

function inward(index: number) {
  const number = 1 + (index % fips);
  const turn = Math.floor(index / fips);
  return {
    client: `192.0.2.${1 + Math.floor(turn / 60_000)}`,
    clientPort: 1_024 + (turn % 60_000),
    eip: eipAddress(number),
    internalIp: fip(number).internalIp,
  };
}
