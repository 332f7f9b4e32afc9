/**
 * Row 5: many FIPs are deleted at once while many flows exist, including flows on them. Then one FIP gets another
 * internal IP.
 */
import { readFile } from "node:fs/promises";
import type { WriteReply } from "../../support/api-client.ts";
import { labAddresses, podAddress } from "../../support/lab.ts";
import { readMetrics } from "../agent-metrics.ts";
import type { Bench } from "../bench.ts";
import { FlowTable, type InboundFlow } from "../flow-table.ts";
import type { Measurement, Row } from "../measurement.ts";
import { expectReady, type Plant } from "../plant.ts";
import { eipAddress, type Fip, fip } from "../scenario.ts";
import { timeOf } from "../timing.ts";

const flowsPerFip = 20;

export const deletesRow: Row = {
  id: "5",
  title: "FIP deletes at once with a full flow table",
  dataplanes: ["iptables-nft", "iptables-legacy", "nftables"],
  async measure(bench) {
    const plant = await bench.loaded();
    const table = new FlowTable(plant.gateway);
    try {
      return await measure(bench, plant, table);
    } finally {
      table.flush();
      table.close();
    }
  },
};

async function measure(bench: Bench, plant: Plant, table: FlowTable): Promise<readonly Measurement[]> {
  const { objects, runs, isQuick } = bench.settings;
  const room = Number(await readFile("/proc/sys/net/netfilter/nf_conntrack_max", "utf8")) - 10_000;
  const total = Math.min(isQuick ? 20_000 : 200_000, room);
  const perFip = Math.min(flowsPerFip, Math.floor(total / objects));
  const deletes = Math.min(500, Math.floor(objects / 2));
  bench.say(`creating ${total} flows`);
  await table.inject([
    ...Array.from({ length: objects }, (_, index) => flowsOf(index + 1, perFip)).flat(),
    ...routedFlows(total - perFip * objects),
  ]);

  const [measured, toolDumps, rawDumps, blocks]: [number[], number[], number[], number[]] = [[], [], [], []];
  await plant.profiled("deletes", async () => {
    for (let run = 0; run < runs; run++) {
      toolDumps.push(table.timeToolDump());
      rawDumps.push(await table.timeRawDump());
      const numbers = Array.from({ length: deletes }, (_, index) => 1 + ((run * deletes + index) % objects));
      await longestBlockMs(plant);
      const eips = new Set(numbers.map(eipAddress));
      const before = await table.countTo(eips);
      measured.push(await timeOf(() => batch(plant, { delete: { fips: numbers.map((n) => fip(n).name) } })));
      blocks.push(await longestBlockMs(plant));
      const ended = before - (await table.countTo(eips));
      if (ended !== perFip * deletes) throw new Error(`${ended} flows were ended, not ${perFip * deletes}`);
      bench.say(`run ${run + 1}: ${Math.round(measured.at(-1) ?? 0)} ms`);
      await batch(plant, { upsert: { fips: numbers.map((n) => fip(n)) } });
      await table.inject(numbers.flatMap((n) => flowsOf(n, perFip)));
    }
  });
  const what = `${deletes} FIPs of ${objects} deleted, ${perFip} flows on each, ${total} in all`;
  const against = (base: string, samples: readonly number[]) =>
    ({ what, unit: "ms", samples: measured, base: { what: base, samples } }) as const;
  return [
    against("conntrack -L", toolDumps),
    { ...against("a raw netlink dump, not decoded", rawDumps), allowed: 1.5 },
    { what: "longest delay of the event loop during that", unit: "ms", samples: blocks },
    ...(await measureMoves(bench, plant, table, perFip, rawDumps)),
  ];
}

/** One FIP gets another internal IP, which ends its flows. Then it gets the first one again, without flows. */
async function measureMoves(
  { settings: { objects, runs } }: Bench,
  plant: Plant,
  table: FlowTable,
  perFip: number,
  rawDumps: readonly number[],
): Promise<readonly Measurement[]> {
  const [busy, idle]: [number[], number[]] = [[], []];
  for (let run = 0; run < runs; run++) {
    const number = objects - run;
    const eips = new Set([eipAddress(number)]);
    const before = await table.countTo(eips);
    busy.push(await timeOf(() => put(plant, fip(number, 1))));
    const ended = before - (await table.countTo(eips));
    if (ended !== perFip) throw new Error(`${ended} flows were ended, not ${perFip}`);
    idle.push(await timeOf(() => put(plant, fip(number))));
    await table.inject(flowsOf(number, perFip));
  }
  const base = { what: "a raw netlink dump, not decoded", samples: rawDumps };
  return [
    { what: `one FIP changed, ${perFip} flows on it`, unit: "ms", samples: busy, base },
    { what: "one FIP changed, no flow on it", unit: "ms", samples: idle, base },
  ];
}

async function put({ api }: Plant, moved: Fip): Promise<void> {
  const { status, body } = await api.put(`fips/${moved.name}`, moved, "?wait=60s");
  if (status !== 200) throw new Error(`${moved.name} did not become Ready: ${JSON.stringify(body)}`);
}

/** Since the last call. */
async function longestBlockMs({ api }: Plant): Promise<number> {
  return (await readMetrics(api))("nodejs_eventloop_lag_max_seconds") * 1000;
}

async function batch(plant: Plant, body: object): Promise<void> {
  const reply = await plant.api.call<WriteReply>("POST", "/v1/batch?wait=2m", body);
  expectReady(reply.status, reply.body, "the batch");
}

function flowsOf(number: number, count: number): readonly InboundFlow[] {
  return Array.from({ length: count }, (_, index) => ({
    client: labAddresses.outside,
    clientPort: 20_000 + index,
    eip: eipAddress(number),
    internalIp: fip(number).internalIp,
  }));
}

/** Flows that no object affects. */
function routedFlows(count: number): readonly InboundFlow[] {
  return Array.from({ length: count }, (_, index) => ({
    client: `192.0.2.${1 + Math.floor(index / 60_000)}`,
    clientPort: 1_024 + (index % 60_000),
    eip: podAddress(1),
    internalIp: podAddress(1),
  }));
}
