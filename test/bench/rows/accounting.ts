/** Row 17: what a packet costs more because its EIP is counted. Row 18: a scrape of the metrics. */
import { DatagramSender } from "../datagrams.ts";
import type { Row } from "../measurement.ts";
import { familyUsage } from "../process-usage.ts";
import { eipAddress } from "../scenario.ts";
import { inTurns, timeOf } from "../timing.ts";
import { dropDatagrams } from "./new-flows.ts";

const packetsPerSample = 5_000;
const port = 9;

export const accountingRow: Row = {
  id: "17",
  title: "a packet whose EIP is counted",
  dataplanes: ["iptables-nft", "iptables-legacy", "nftables"],
  async measure(bench) {
    const { objects, runs } = bench.settings;
    const plant = await bench.loaded();
    const address = eipAddress(objects);
    const sender = new DatagramSender(plant.lab.namespaceOf("outside"));
    await plant.lab.exec("pod1", ["nft", "-f", "-"], { input: dropDatagrams });
    const count = async (isCounted: boolean) => {
      // A dormant table keeps its contents, but no packet gets there.
      const flags = isCounted ? "" : "flags dormant;";
      await plant.lab.exec("gw", ["nft", "-f", "-"], { input: `table ip natgw_acct { ${flags} }` });
      return sender.sendOn(address, port, packetsPerSample);
    };
    // It would repair the table.
    process.kill(plant.pid, "SIGSTOP");
    try {
      await count(false);
      await count(true);
      bench.say(`${packetsPerSample} packets a sample, ${runs * 8} samples on each side`);
      const samples = await inTurns(runs * 8, { measured: () => count(true), base: () => count(false) });
      return [
        {
          what: `CPU time of a packet to one of ${objects} EIPs`,
          unit: "µs",
          samples: samples.measured,
          base: { what: "not counted", samples: samples.base },
          allowed: 1.1,
        },
      ];
    } finally {
      await count(true);
      sender.close();
      process.kill(plant.pid, "SIGCONT");
      await plant.lab.exec("pod1", ["nft", "delete", "table", "ip", "sink"]);
    }
  },
};

export const scrapeRow: Row = {
  id: "18",
  title: "a scrape",
  dataplanes: ["iptables-nft", "nftables"],
  async measure(bench) {
    const { objects, runs } = bench.settings;
    const plant = await bench.loaded();
    const { api } = plant;
    const usage = async () => (await familyUsage(plant.pid)).self.cpuSeconds;
    let bytes = 0;
    const scrape = () =>
      timeOf(async () => {
        bytes = (await api.metrics()).length;
      });
    await scrape();
    const samples: number[] = [];
    const before = await usage();
    await plant.profiled("scrape", async () => {
      for (let run = 0; run < runs * 4; run++) samples.push(await scrape());
    });
    const cpuMs = ((await usage()) - before) * 1_000;
    return [
      {
        what: `GET /metrics at ${objects} EIPs and FIPs`,
        unit: "ms",
        samples,
        allowed: 100,
        notes: [
          `${Math.round(bytes / 1024)} KiB, ${Math.round(cpuMs / samples.length)} ms of the agent's CPU time`,
        ],
      },
    ];
  },
};
