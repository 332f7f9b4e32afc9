/** Counts the traffic of interfaces. The kernel's counters begin at 0 with each interface; these go on. */
import type { InterfaceName } from "../../lib/model/names.ts";
import type { LinkCounts } from "../../lib/netlink/rtnetlink-link-counters.ts";
import type { Metrics } from "./metrics.ts";

export type CountsByInterface = ReadonlyMap<InterfaceName, LinkCounts>;

type InterfaceMetrics = Pick<
  Metrics,
  "interfaceReceiveBytes" | "interfaceReceivePackets" | "interfaceTransmitBytes" | "interfaceTransmitPackets"
>;

export class InterfaceMeter {
  readonly #counters: readonly (readonly [keyof LinkCounts, InterfaceMetrics[keyof InterfaceMetrics]])[];
  #last: CountsByInterface = new Map();

  constructor(metrics: InterfaceMetrics) {
    this.#counters = [
      ["receiveBytes", metrics.interfaceReceiveBytes],
      ["receivePackets", metrics.interfaceReceivePackets],
      ["transmitBytes", metrics.interfaceTransmitBytes],
      ["transmitPackets", metrics.interfaceTransmitPackets],
    ];
  }

  /** @param counts of the interfaces that the gateway uses, as far as they exist */
  update(counts: CountsByInterface): void {
    for (const [name, now] of counts)
      for (const [key, counter] of this.#counters)
        counter.inc({ interface: name }, increase(this.#last.get(name)?.[key], now[key]));
    for (const name of this.#last.keys())
      if (!counts.has(name)) for (const [, counter] of this.#counters) counter.remove({ interface: name });
    this.#last = counts;
  }
}

function increase(before = 0, now: number): number {
  return now < before ? now : now - before;
}
