/** Row 19: EIPs and FIPs by calls of `nat-gateway.sh`, one after the other, as Kube-OVN's controller makes them. */
import { fileURLToPath } from "node:url";
import type { Bench } from "../bench.ts";
import { CpuMeter } from "../cpu-meter.ts";
import type { Measurement, Row } from "../measurement.ts";
import { eipAddress, eipPrefixLength, fip, fipsOnly } from "../scenario.ts";
import { timeCommands } from "../timing.ts";

const script = fileURLToPath(new URL("../../../scripts/nat-gateway.sh", import.meta.url));
const today = fileURLToPath(new URL("../one-by-one.sh", import.meta.url));
/** Calls that are measured at the end, when so many objects exist. */
const measuredCalls = 100;
const mostPairs = 1_000;

/** What today's script takes at 1,000 FIPs, without announcing, and what a call may take: 50 ms of 71 and of 88. */
const operations = {
  "eip-add": { allowed: 50 / 71 },
  "floating-ip-add": { allowed: 50 / 88 },
} as const;
type Operation = keyof typeof operations;

export const kubeOvnCallsRow: Row = {
  id: "19",
  title: "EIPs and FIPs by calls of nat-gateway.sh",
  dataplanes: ["iptables-nft", "iptables-legacy", "nftables"],
  async measure(bench) {
    await bench.clear();
    const pairs = Math.min(bench.settings.objects, mostPairs);
    const plant = await bench.plant();
    const cpu = new CpuMeter();
    const environment = ["env", `NATGW_SOCKET=${plant.socketPath}`, "bash", script];
    timeCommands(plant.gateway, [{ argv: [...environment, "init"] }]);
    const samples: Record<Operation, number[]> = { "eip-add": [], "floating-ip-add": [] };
    let totalMs = 0;
    await plant.profiled("calls", () =>
      cpu.agent(plant.pid, async () => {
        for (let number = 1; number <= pairs; number++) {
          const eip = eipAddress(number);
          for (const [operation, rule] of [
            ["eip-add", `${eip}/${eipPrefixLength}`],
            ["floating-ip-add", `${eip},${fip(number).internalIp}`],
          ] as const) {
            const ms = timeCommands(plant.gateway, [{ argv: [...environment, operation, rule] }]);
            totalMs += ms;
            if (number > pairs - measuredCalls) samples[operation].push(ms);
          }
          if (number % measuredCalls === 0)
            bench.say(`${number} of ${pairs}: ${(totalMs / 1000).toFixed(1)} s`);
        }
      }),
    );
    const bases = await todaysCalls(bench, pairs);
    const total: Measurement = {
      what: `${pairs} EIPs and FIPs, all calls`,
      unit: "ms",
      samples: [totalMs],
      notes: [cpu.note(1)],
    };
    return [
      ...(["eip-add", "floating-ip-add"] as const).map(
        (operation): Measurement => ({
          what: `${operation} at ${pairs} EIPs and FIPs`,
          unit: "ms",
          samples: samples[operation],
          base: { what: "today's way: search a dump, append", samples: bases[operation] },
          ...(pairs === mostPairs && operations[operation]),
        }),
      ),
      total,
    ];
  },
};

/** The same calls without an agent, by iptables-nft: each searches a dump and appends. */
async function todaysCalls(
  bench: Bench,
  held: number,
): Promise<Readonly<Record<Operation, readonly number[]>>> {
  const bare = await bench.barePlant();
  bare.load("iptables-nft", fipsOnly(held));
  const samples: Record<Operation, number[]> = { "eip-add": [], "floating-ip-add": [] };
  for (let number = held + 1; number <= held + measuredCalls / 5; number++) {
    const eip = eipAddress(number);
    const calls: Readonly<Record<Operation, readonly string[]>> = {
      "eip-add": [`${eip}/${eipPrefixLength}`],
      "floating-ip-add": [eip, fip(number).internalIp],
    };
    for (const operation of ["eip-add", "floating-ip-add"] as const)
      samples[operation].push(
        timeCommands(bare.gateway, [{ argv: [today, operation, ...calls[operation]] }]),
      );
  }
  await bench.clear();
  return samples;
}
