/** Row 9: how a large write affects others: event loop delay and the time of reads. */
import { setTimeout as delay } from "node:timers/promises";
import { readMetrics } from "../agent-metrics.ts";
import type { Row } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { fipsOnly } from "../scenario.ts";
import { quantile } from "../statistics.ts";
import { timeOf } from "../timing.ts";

const betweenReadsMs = 10;

export const responsivenessRow: Row = {
  id: "9",
  title: "the API during a large PUT",
  dataplanes: ["iptables-nft", "nftables"],
  async measure(bench) {
    await bench.clear();
    const { objects, runs } = bench.settings;
    const plant = await bench.plant();
    const [lags, longest, reads]: [number[], number[], number[]] = [[], [], []];
    for (let run = 0; run < runs; run++) {
      if (run > 0) await plant.renew();
      // Reading the metrics starts a new observation.
      await loopLag(plant);
      const readMs = await plant.profiled(`responsiveness-${run}`, () =>
        readingWhile(plant, () => plant.load(fipsOnly(objects))),
      );
      const lag = await loopLag(plant);
      lags.push(lag.p99Ms);
      longest.push(lag.maxMs);
      reads.push(quantile(readMs, 0.99));
      bench.say(`run ${run + 1}: loop p99 ${Math.round(lag.p99Ms)} ms, max ${Math.round(lag.maxMs)} ms`);
    }
    await bench.clear();
    const during = `while ${objects} EIPs and FIPs are put`;
    return [
      { what: `event loop delay ${during}, p99`, unit: "ms", samples: lags, allowed: 50 },
      { what: `event loop delay ${during}, longest`, unit: "ms", samples: longest },
      { what: `GET of one object ${during}, p99`, unit: "ms", samples: reads, allowed: 50 },
    ];
  },
};

/** Milliseconds of each read, one after the other, until `act` ends. */
async function readingWhile(plant: Plant, act: () => Promise<void>): Promise<readonly number[]> {
  const times: number[] = [];
  let isOver = false;
  const reading = (async () => {
    while (!isOver) {
      times.push(await timeOf(() => plant.api.get("eips/eip-1")));
      await delay(betweenReadsMs);
    }
  })();
  try {
    await act();
  } finally {
    isOver = true;
    await reading;
  }
  return times;
}

async function loopLag({ api }: Plant): Promise<{ readonly p99Ms: number; readonly maxMs: number }> {
  const metrics = await readMetrics(api);
  return {
    p99Ms: metrics("nodejs_eventloop_lag_p99_seconds") * 1000,
    maxMs: metrics("nodejs_eventloop_lag_max_seconds") * 1000,
  };
}
