/**
 * Turns the kernel's counters of EIPs, which can begin at 0 again, into counters that never go back, with the names of
 * Eips. Only a bounded number of Eips has series of its own; the others are counted together. A series vanishes with its
 * Eip.
 */

import { type Chunked, everyNth } from "../../lib/chunked.ts";
import type { CounterSet, RawCounts, RawTraffic } from "../../lib/nftables/accounting.ts";
import { onTheWire } from "../../lib/nftables/segments.ts";
import type { Metrics } from "./metrics.ts";

/** The label of all Eips beyond the limit. An Eip of this name is counted with them. */
export const otherEips = "other";

/** One Eip of the desired set. */
export interface CountedEip {
  readonly name: string;
  /** Without its prefix length. */
  readonly address: string;
  /** Of the wire that its packets take. */
  readonly mtu: number;
}

type TrafficMetrics = Pick<
  Metrics,
  "eipInfo" | "eipReceiveBytes" | "eipReceivePackets" | "eipTransmitBytes" | "eipTransmitPackets"
>;

/** About a millisecond. */
const countedAtOnce = 200;

const nothing = { packets: 0, bytes: 0 };

export class TrafficMeter {
  readonly #metrics: TrafficMetrics;
  readonly #maxEips: number;
  #last: RawCounts = new Map();
  /** The address by the label of each series, `""` for {@link otherEips}. */
  #series: ReadonlyMap<string, string> = new Map();

  constructor(metrics: TrafficMetrics, maxEips: number) {
    this.#metrics = metrics;
    this.#maxEips = maxEips;
  }

  /**
   * Takes a reading. The first one counts what the kernel counted before this process.
   *
   * @param eips in order of creation
   * @param isCounted false: nothing is counted, so there are no counters to show
   */
  *update(eips: Iterable<CountedEip>, counts: RawCounts, isCounted: boolean): Chunked<void> {
    const { eipInfo } = this.#metrics;
    const isDue = everyNth(countedAtOnce);
    const series = new Map<string, string>();
    const addresses = new Set<string>();
    let seen = 0;
    for (const { name, address, mtu } of eips) {
      if (isDue()) yield;
      const isOwn = ++seen <= this.#maxEips && name !== otherEips;
      const label = isOwn ? name : otherEips;
      const before = this.#series.get(label);
      if (isOwn && before !== address) {
        if (before !== undefined) eipInfo.remove({ eip: label, address: before });
        eipInfo.set({ eip: label, address }, 1);
      }
      series.set(label, isOwn ? address : "");
      if (!isCounted) continue;
      // Of two Eips that claim one address the older has it.
      const [now, last] = addresses.has(address) ? [undefined, undefined] : [counts, this.#last];
      addresses.add(address);
      this.#count(label, now?.get(address) ?? {}, last?.get(address) ?? {}, mtu);
    }
    for (const [label, address] of this.#series) if (!series.has(label)) this.#remove(label, address);
    this.#series = series;
    this.#last = counts;
  }

  #count(eip: string, now: RawTraffic, before: RawTraffic, mtu: number): void {
    const metrics = this.#metrics;
    const more = (set: CounterSet) => increase(before[set], now[set]);
    const receive = onTheWire(more("in"), more("in_gso"), more("in_push"), mtu);
    const transmit = onTheWire(more("out"), more("out_gso"), more("out_push"), mtu);
    metrics.eipReceiveBytes.inc({ eip }, receive.bytes);
    metrics.eipReceivePackets.inc({ eip }, receive.packets);
    metrics.eipTransmitBytes.inc({ eip }, transmit.bytes);
    metrics.eipTransmitPackets.inc({ eip }, transmit.packets);
  }

  #remove(eip: string, address: string): void {
    const { eipInfo, ...counters } = this.#metrics;
    if (address !== "") eipInfo.remove({ eip, address });
    for (const counter of [
      counters.eipReceiveBytes,
      counters.eipReceivePackets,
      counters.eipTransmitBytes,
      counters.eipTransmitPackets,
    ])
      counter.remove({ eip });
  }
}

/** A counter that was made again began at 0. */
function increase(before = nothing, now = nothing): typeof nothing {
  if (now.packets < before.packets || now.bytes < before.bytes) return now;
  return { packets: now.packets - before.packets, bytes: now.bytes - before.bytes };
}
