/** Row 19: EIPs and FIPs by calls of `nat-gateway.sh`, one after the other, as Kube-OVN's controller makes them. */
import { fileURLToPath } from "node:url";
import { labAddresses } from "../../support/lab.ts";
import { CpuMeter } from "../cpu-meter.ts";
import type { Measurement, Row } from "../measurement.ts";
import { expectReady, type Plant } from "../plant.ts";
import { eipAddress, eipPrefixLength, fip, fipsOnly, vpcRoute } from "../scenario.ts";
import { timeCommands } from "../timing.ts";

const script = fileURLToPath(new URL("../../../scripts/nat-gateway.sh", import.meta.url));
const today = fileURLToPath(new URL("../one-by-one.sh", import.meta.url));
const mostHeld = 1_000;
const callsEach = 40;

const operations = ["eip-add", "floating-ip-add"] as const;
type Operation = (typeof operations)[number];
/** 50 ms, where today's script takes 71 and 88 at 1,000 FIPs. */
const allowed: Readonly<Record<Operation, number>> = { "eip-add": 50 / 71, "floating-ip-add": 50 / 88 };

export const kubeOvnCallsRow: Row = {
  id: "19",
  title: "EIPs and FIPs by calls of nat-gateway.sh",
  dataplanes: ["iptables-nft", "iptables-legacy", "nftables"],
  async measure(bench) {
    await bench.clear();
    const held = Math.min(bench.settings.objects, mostHeld);
    const plant = await bench.plant();
    await load(plant, held);
    const bare = await bench.barePlant();
    bare.load("iptables-nft", fipsOnly(held));
    const samples = new Map(
      operations.map((operation) => [operation, { measured: [] as number[], base: [] as number[] }]),
    );
    const cpus = { "eip-add": new CpuMeter(), "floating-ip-add": new CpuMeter() };
    const again: number[] = [];
    for (let number = held + 1; number <= held + callsEach; number++) {
      const eip = eipAddress(number);
      const { internalIp } = fip(number);
      const rules = { "eip-add": `${eip}/${eipPrefixLength}`, "floating-ip-add": `${eip},${internalIp}` };
      for (const operation of operations) {
        const cpu = cpus[operation];
        const argv = callOf(plant, operation, rules[operation]);
        const ms = await cpu.agent(plant.pid, async () => timeCommands(plant.gateway, [{ argv }]));
        samples.get(operation)?.measured.push(ms);
        const old = [{ argv: [today, operation, ...rules[operation].split(",")] }];
        samples.get(operation)?.base.push(await cpu.tools(() => timeCommands(bare.gateway, old)));
      }
      again.push(timeCommands(plant.gateway, [{ argv: callOf(plant, "eip-add", rules["eip-add"]) }]));
    }
    await bench.clear();
    return [
      ...operations.map(
        (operation): Measurement => ({
          what: `${operation} at ${held} EIPs and FIPs`,
          unit: "ms",
          samples: samples.get(operation)?.measured ?? [],
          base: { what: "today's way: search a dump, append", samples: samples.get(operation)?.base ?? [] },
          notes: [`without the script: ${cpus[operation].note(callsEach)}`],
          ...(held === mostHeld && { allowed: allowed[operation] }),
        }),
      ),
      { what: "a call that changes nothing", unit: "ms", samples: again },
    ];
  },
};

function callOf(plant: Plant, operation: string, ...rules: readonly string[]): readonly string[] {
  return ["env", `NATGW_SOCKET=${plant.socketPath}`, "bash", script, operation, ...rules];
}

/** The objects that so many calls would have left. */
async function load(plant: Plant, count: number): Promise<void> {
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  const reply = await plant.api.putSet(
    {
      generation: 1,
      gateway: { defaultGateway: labAddresses.outside },
      eips: numbers.map((number) => ({
        name: eipAddress(number),
        address: `${eipAddress(number)}/${eipPrefixLength}`,
      })),
      fips: numbers.map((number) => ({
        name: eipAddress(number),
        eip: eipAddress(number),
        internalIp: fip(number).internalIp,
      })),
      routes: [vpcRoute],
    },
    "?wait=1m",
  );
  expectReady(reply.status, reply.body, "the full set");
}
