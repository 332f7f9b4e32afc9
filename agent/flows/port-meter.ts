/** The metrics of EIPs' connections and ports, after each scan. */
import { type Chunked, everyNth } from "../../lib/chunked.ts";
import type { AddressKey } from "../../lib/model/family.ts";
import { additionalEipsNeeded, portCapacity } from "../../lib/ports/capacity.ts";
import type { Census } from "../../lib/ports/census.ts";
import { countedProtocols, flowStates, protocolsWithPorts } from "../../lib/ports/flow-state.ts";
import type { Metrics } from "../status/metrics.ts";

export type PortMetrics = Pick<
  Metrics,
  "eipConnections" | "eipPortsUsed" | "eipPortUtilization" | "eipAdditionalNeeded"
>;

/** The label of all Eips beyond the maximum. An Eip of this name is counted with them. */
const otherEips = "other";

/** An Eip without flows has series of it, too, so that a sum over its flows is 0. Of every protocol they would be too many. */
const tcpIndex = countedProtocols.indexOf("tcp");
/** An Eip without flows uses 0 ports of these. */
const usualWithPorts = ["tcp", "udp"] as const;

/** What is shown under one label. */
interface Shown {
  /** Like the counts of a census. */
  readonly connections: number[];
  /** By protocol. */
  readonly portsUsed: number[];
  additional: number;
}

export class PortMeter {
  readonly #metrics: PortMetrics;
  readonly #maxEips: number;
  /** The protocols that have series, by label: they stay, also at 0, as long as the Eip does. */
  #series = new Map<string, Set<number>>();

  constructor(metrics: PortMetrics, maxEips: number) {
    this.#metrics = metrics;
    this.#maxEips = maxEips;
  }

  /** The first Eips of the census have labels of their own. */
  *update(census: Census): Chunked<void> {
    const shown = new Map<string, Shown>();
    const isDue = everyNth(metersAtOnce);
    let count = 0;
    for (const [key, { name }] of census.eips) {
      if (isDue()) yield;
      const label = count++ < this.#maxEips ? name : otherEips;
      const sum = shown.get(label) ?? emptyShown();
      shown.set(label, sum);
      addEip(sum, key, census);
    }
    const series = new Map<string, Set<number>>();
    for (const [label, sum] of shown) {
      if (isDue()) yield;
      series.set(label, this.#show(label, sum));
    }
    for (const [label, protocols] of this.#series) {
      if (isDue()) yield;
      if (!series.has(label)) this.#remove(label, protocols);
    }
    this.#series = series;
  }

  #show(eip: string, { connections, portsUsed, additional }: Shown): Set<number> {
    const { eipConnections, eipPortsUsed, eipPortUtilization, eipAdditionalNeeded } = this.#metrics;
    const protocols = new Set(this.#series.get(eip) ?? [tcpIndex]);
    connections.forEach((count, index) => {
      if (count > 0) protocols.add(Math.floor(index / flowStates.length));
    });
    for (const index of protocols) {
      const protocol = countedProtocols[index] ?? otherEips;
      flowStates.forEach((state, at) => {
        eipConnections.set({ eip, protocol, state }, connections[index * flowStates.length + at] ?? 0);
      });
      if (index < protocolsWithPorts) eipPortsUsed.set({ eip, protocol }, portsUsed[index] ?? 0);
    }
    for (const protocol of usualWithPorts)
      if (!protocols.has(countedProtocols.indexOf(protocol))) eipPortsUsed.set({ eip, protocol }, 0);
    eipPortUtilization.set({ eip }, Math.max(...portsUsed) / portCapacity);
    eipAdditionalNeeded.set({ eip }, additional);
    return protocols;
  }

  #remove(eip: string, protocols: ReadonlySet<number>): void {
    const { eipConnections, eipPortsUsed, eipPortUtilization, eipAdditionalNeeded } = this.#metrics;
    for (const index of protocols) {
      const protocol = countedProtocols[index] ?? otherEips;
      for (const state of flowStates) eipConnections.remove({ eip, protocol, state });
      eipPortsUsed.remove({ eip, protocol });
    }
    for (const protocol of usualWithPorts) eipPortsUsed.remove({ eip, protocol });
    eipPortUtilization.remove({ eip });
    eipAdditionalNeeded.remove({ eip });
  }
}

/** Takes a few milliseconds: a label has up to 30 series. */
const metersAtOnce = 200;

function emptyShown(): Shown {
  return {
    connections: new Array<number>(countedProtocols.length * flowStates.length).fill(0),
    portsUsed: new Array<number>(protocolsWithPorts).fill(0),
    additional: 0,
  };
}

/** Flows and needed EIPs are summed, ports are those of the worst destination. */
function addEip(sum: Shown, key: AddressKey, census: Census): void {
  census.connectionsOf(key)?.forEach((count, index) => {
    sum.connections[index] = (sum.connections[index] ?? 0) + count;
  });
  let most = 0;
  for (const { protocolIndex, live } of census.destinations.of(key)) {
    sum.portsUsed[protocolIndex] = Math.max(sum.portsUsed[protocolIndex] ?? 0, live);
    most = Math.max(most, live);
  }
  sum.additional += additionalEipsNeeded(most);
}
