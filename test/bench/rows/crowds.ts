/** Row 16: what is many rules in few objects: DNATs with many backends, and SNATs whose CIDRs overlap. */

import { labAddresses } from "../../support/lab.ts";
import type { Command } from "../bare.ts";
import { bareBackends, bareSnats, type Crowd, type Service, type Source } from "../bare-crowds.ts";
import type { Bench } from "../bench.ts";
import { CpuMeter } from "../cpu-meter.ts";
import type { Measurement, Row } from "../measurement.ts";
import { expectReady, type Plant } from "../plant.ts";
import { eipAddress, eipPrefixLength } from "../scenario.ts";
import { inTurns, timeCommands, timeOf } from "../timing.ts";

const backendsEach = 256;
const eipCount = 4;
const allowed = 3;

export const crowdsRow: Row = {
  id: "16",
  title: "many backends, and overlapping SNATs",
  dataplanes: ["iptables-nft", "iptables-legacy"],
  async measure(bench) {
    await bench.clear();
    const { objects } = bench.settings;
    const dnats = Math.ceil(objects / 20);
    return [
      ...(await measure(
        bench,
        backendSteps(dnats),
        bareBackends,
        `${dnats} DNATs of ${backendsEach} backends`,
      )),
      ...(await measure(
        bench,
        snatSteps(objects),
        (crowd) => bareSnats(bench.dataplane, crowd),
        `${objects} SNATs`,
      )),
    ];
  },
};

/** From one crowd to the next. The steps of a run follow each other. */
interface StepOf<T> {
  readonly what: string;
  readonly to: readonly T[];
}

async function measure<T extends Service | Source>(
  bench: Bench,
  steps: readonly StepOf<T>[],
  commandOf: (crowd: Crowd<T>) => Command,
  title: string,
): Promise<readonly Measurement[]> {
  const plant = await bench.plant();
  const bare = await bench.barePlant();
  const samples = steps.map(() => ({ measured: [] as number[], base: [] as number[], cpu: new CpuMeter() }));
  let generation = 0;
  const put = async (crowd: readonly (Service | Source)[]) => {
    const reply = await plant.api.putSet(setOf(crowd, ++generation), "?wait=5m");
    expectReady(reply.status, reply.body, title);
  };
  await put([]);
  timeCommands(bare.gateway, [commandOf({ from: undefined, to: [] })]);
  await inTurns(bench.settings.runs, {
    measured: async (run) => {
      for (const [index, { what, to }] of steps.entries()) {
        const step = samples[index];
        if (step === undefined) continue;
        const ms = await plant.profiled(`crowds-${run}-${index}`, () =>
          step.cpu.agent(plant.pid, () => timeOf(() => change(plant, steps[index - 1]?.to ?? [], to, put))),
        );
        step.measured.push(ms);
        bench.say(`${title}, ${what}, run ${run + 1}: the agent ${ms.toFixed(0)} ms`);
      }
      return 0;
    },
    base: async (run) => {
      for (const [index, { what, to }] of steps.entries()) {
        const step = samples[index];
        const command = commandOf({ from: steps[index - 1]?.to ?? [], to });
        const ms = await step?.cpu.tools(() => timeCommands(bare.gateway, [command]));
        if (ms !== undefined) step?.base.push(ms);
        bench.say(`${title}, ${what}, run ${run + 1}: the bare tool ${ms?.toFixed(0)} ms`);
      }
      return 0;
    },
  });
  await bench.clear();
  return steps.map(({ what }, index): Measurement => {
    const { measured = [], base = [], cpu } = samples[index] ?? {};
    return {
      what: `${title}: ${what}`,
      unit: "ms",
      samples: measured,
      base: { what: "the bare tool in one transaction", samples: base },
      allowed,
      notes: cpu === undefined ? [] : [cpu.note(bench.settings.runs)],
    };
  });
}

/** One object by its own request, more by a full set. */
async function change(
  plant: Plant,
  from: readonly (Service | Source)[],
  to: readonly (Service | Source)[],
  put: (crowd: readonly (Service | Source)[]) => Promise<void>,
): Promise<void> {
  const differing = to.filter((one) => !from.includes(one));
  const names = new Set(to.map(({ name }) => name));
  const gone = from.filter(({ name }) => !names.has(name));
  const [only] = [...differing, ...gone];
  if (only === undefined || differing.length + gone.length > 1) return put(to);
  const path = `${"backends" in only ? "dnats" : "snats"}/${only.name}`;
  const { status, body } =
    differing.length === 1 ? await plant.api.put(path, specOf(only)) : await plant.api.delete(path);
  if (status !== 200 && status !== 204) throw new Error(`${path}: ${status} ${JSON.stringify(body)}`);
}

function specOf(one: Service | Source): Readonly<Record<string, unknown>> {
  const eip = `eip-${one.eipNumber}`;
  return "backends" in one
    ? {
        name: one.name,
        eip,
        protocol: "tcp",
        externalPort: one.port,
        backends: one.backends.map((ip) => ({ ip, port: 80 })),
      }
    : { name: one.name, eip, internalCIDR: one.cidr };
}

function setOf(crowd: readonly (Service | Source)[], generation: number) {
  const of = (isDnat: boolean) => crowd.filter((one) => "backends" in one === isDnat).map(specOf);
  return {
    generation,
    gateway: { defaultGateway: labAddresses.outside },
    eips: numbers(eipCount).map((number) => ({
      name: `eip-${number}`,
      address: `${eipAddress(number)}/${eipPrefixLength}`,
    })),
    dnats: of(true) as never,
    snats: of(false) as never,
    routes: [{ name: "vpc", destination: "10.64.0.0/10", via: "10.0.1.5" }],
  };
}

function backendSteps(count: number): readonly StepOf<Service>[] {
  const backends = (number: number) =>
    numbers(backendsEach).map((host) => `10.${64 + (number >> 8)}.${number & 255}.${host - 1}`);
  const all = numbers(count).map(
    (number): Service => ({
      name: `dnat-${number}`,
      eipNumber: 1 + (number % eipCount),
      port: 1000 + number,
      backends: backends(number),
    }),
  );
  const [first, ...others] = all;
  const changed = first === undefined ? [] : [{ ...first, backends: first.backends.slice(1) }, ...others];
  return [
    { what: "create", to: all },
    { what: "one loses a backend", to: changed },
    { what: "delete one", to: others },
    { what: "empty", to: [] },
  ];
}

/** Nine of ten are a /28, the others /24 around them, and one holds all. */
function snatSteps(count: number): readonly StepOf<Source>[] {
  const small = Math.floor(count * 0.9);
  const cidr = (number: number): string => {
    if (number === count) return "10.64.0.0/10";
    const address = number <= small ? (number - 1) * 16 : (number - small - 1) * 256;
    return `10.${64 + (address >> 16)}.${(address >> 8) & 255}.${address & 255}/${number <= small ? 28 : 24}`;
  };
  const all = numbers(count).map(
    (number): Source => ({
      name: `snat-${number}`,
      eipNumber: 1 + (number % eipCount),
      cidr: cidr(number),
      prefixLength: Number(cidr(number).split("/")[1]),
    }),
  );
  const [first, ...others] = all;
  const changed = first === undefined ? [] : [{ ...first, eipNumber: 1 }, ...others];
  return [
    { what: "create", to: all },
    { what: "one gets another EIP", to: changed },
    { what: "delete one", to: others },
    { what: "empty", to: [] },
  ];
}

function numbers(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
