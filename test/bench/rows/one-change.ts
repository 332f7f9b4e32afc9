/** Rows 2 and 3: one FIP of many gets another internal IP. */
import { touchedDumps } from "../bare.ts";
import type { Bench } from "../bench.ts";
import { Mover, timeBareChange, timeChange } from "../changes.ts";
import { CpuMeter } from "../cpu-meter.ts";
import type { Measurement, Row } from "../measurement.ts";
import { median } from "../statistics.ts";
import { inTurns, timeCommands } from "../timing.ts";

export const nftablesChangeRow: Row = {
  id: "2",
  title: "one FIP change, PUT to Ready, nftables",
  dataplanes: ["nftables", "nftables-route"],
  measure: (bench) => measure(bench, "one nft -f with the change", bench.settings.runs * 5, 0.5),
};

export const iptablesChangeRow: Row = {
  id: "3",
  title: "one FIP change, PUT to Ready, iptables",
  dataplanes: ["iptables-nft", "iptables-legacy"],
  measure: (bench) =>
    measure(
      bench,
      "one iptables-restore with the change and a dump of the two touched chains",
      bench.settings.runs,
      1.1,
    ),
};

async function measure(
  bench: Bench,
  base: string,
  runs: number,
  allowed: number,
): Promise<readonly Measurement[]> {
  const { dataplane, settings } = bench;
  const bare = await bench.loadedBare();
  const plant = await bench.loaded();
  const [mover, bareMover] = [new Mover(settings.objects), new Mover(settings.objects)];
  const dumps = touchedDumps(dataplane);
  const cpu = new CpuMeter();
  bench.say(`${runs} changes on each side`);
  await timeChange(plant, mover);
  const samples = await plant.profiled("one-change", () =>
    inTurns(runs, {
      measured: () => cpu.agent(plant.pid, () => timeChange(plant, mover)),
      base: () => cpu.tools(() => timeBareChange(bare, dataplane, bareMover, dumps)),
    }),
  );
  const dumpMs = median(Array.from({ length: 3 }, () => timeCommands(bare.gateway, dumps)));
  await plant.load({ fips: settings.objects, dnats: 0, snats: 0 });
  return [
    {
      what: `one FIP of ${settings.objects} gets another internal IP`,
      unit: "ms",
      samples: samples.measured,
      base: { what: base, samples: samples.base },
      allowed,
      notes: [
        cpu.note(runs),
        ...(dumps.length > 0 ? [`of the base, the dump alone takes ${dumpMs.toFixed(0)} ms`] : []),
      ],
    },
  ];
}
