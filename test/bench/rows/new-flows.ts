/** Row 6: the cost of a new flow through the last of many FIPs, compared with one through a single FIP. */
import { DatagramSender } from "../datagrams.ts";
import { iptablesOf } from "../dataplanes.ts";
import { FlowTable } from "../flow-table.ts";
import type { Row } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { eipAddress, fipsOnly } from "../scenario.ts";
import { inTurns } from "../timing.ts";

/** Chains of 10,000 rules take most of a millisecond per flow. */
const flowsPerSample = { maps: 2_000, chains: 200 };

export const newFlowsRow: Row = {
  id: "6",
  title: "a new flow through the last FIP",
  dataplanes: ["iptables-nft", "nftables"],
  async measure(bench) {
    const { objects, runs } = bench.settings;
    const many = await bench.loaded();
    const one = await bench.plant();
    await one.load(fipsOnly(1));
    const isChain = iptablesOf(bench.dataplane) !== undefined;
    const flows = isChain ? flowsPerSample.chains : flowsPerSample.maps;
    const paths = [await Path.open(many, objects, flows), await Path.open(one, 1, flows)] as const;
    bench.say(`${flows} flows a sample, ${runs * 8} samples on each side`);
    try {
      const [throughLast, throughOnly] = paths;
      const samples = await inTurns(runs * 8, {
        measured: () => throughLast.timeFlows(),
        base: () => throughOnly.timeFlows(),
      });
      return [
        {
          what: `time a new UDP flow, FIP ${objects} of ${objects}`,
          unit: "µs",
          samples: samples.measured,
          base: { what: "through 1 FIP", samples: samples.base },
          // Chains are searched linearly: they have no limit.
          ...(!isChain && { allowed: 1.02 }),
        },
      ];
    } finally {
      for (const path of paths) path.close();
    }
  },
};

/** A pod that drops datagrams: an answer would cost as much as the flow. */
export const dropDatagrams = `table ip sink {
  chain arrivals {
    type filter hook prerouting priority raw
    ip protocol udp drop
  }
}
`;

/** From the outside host through one FIP to a pod that drops everything. */
class Path {
  readonly #address: string;
  readonly #flows: number;
  readonly #sender: DatagramSender;
  readonly #table: FlowTable;

  private constructor(plant: Plant, fipNumber: number, flows: number) {
    this.#flows = flows;
    this.#address = eipAddress(fipNumber);
    this.#sender = new DatagramSender(plant.lab.namespaceOf("outside"));
    this.#table = new FlowTable(plant.gateway);
  }

  static async open(plant: Plant, fipNumber: number, flows: number): Promise<Path> {
    await plant.lab.exec("pod1", ["nft", "-f", "-"], { input: dropDatagrams });
    const path = new Path(plant, fipNumber, flows);
    // Resolves neighbours and warms up the code.
    path.#sender.send(path.#address, 1_000, 10);
    await new Promise((resolve) => setTimeout(resolve, 200));
    await path.timeFlows();
    return path;
  }

  /**
   * Microseconds per flow. Throws if some datagrams did not create a flow: then something other than the gateway was
   * measured.
   */
  async timeFlows(): Promise<number> {
    this.#table.flush();
    const us = this.#sender.send(this.#address, 10_000, this.#flows);
    const made = await this.#table.count();
    if (made < this.#flows) throw new Error(`${this.#flows} datagrams made ${made} flows`);
    return us;
  }

  /** Deletes its flows: other rows share the gateway. */
  close(): void {
    this.#table.flush();
    this.#sender.close();
    this.#table.close();
  }
}
