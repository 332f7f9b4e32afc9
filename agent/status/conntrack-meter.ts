/** Adds the counters of conntrack of all CPUs. Each has 32 bits: it wraps around in days of an attack. */
import type { ConntrackCounter, ConntrackCounts } from "../../lib/netlink/ctnetlink-statistics.ts";
import { conntrackCounters } from "../../lib/netlink/ctnetlink-statistics.ts";

/** By CPU. */
export type CountsByCpu = ReadonlyMap<number, ConntrackCounts>;

export class ConntrackMeter {
  readonly #onCounted: (counter: ConntrackCounter | "full", more: number) => void;
  #last: CountsByCpu = new Map();

  /**
   * @param onCounted `full`: packets that were dropped because the table had no room for their flow. The kernel counts
   * them as dropped only, and those of translations that found no place also as failed.
   */
  constructor(onCounted: (counter: ConntrackCounter | "full", more: number) => void) {
    this.#onCounted = onCounted;
  }

  update(counts: CountsByCpu): void {
    const more = { invalid: 0, insertFailed: 0, drop: 0, earlyDrop: 0, clashResolve: 0 };
    for (const [cpu, now] of counts) {
      const before = this.#last.get(cpu);
      for (const counter of conntrackCounters)
        more[counter] += (now[counter] - (before?.[counter] ?? 0)) >>> 0;
    }
    for (const counter of conntrackCounters) this.#onCounted(counter, more[counter]);
    this.#onCounted("full", Math.max(more.drop - more.insertFailed, 0));
    this.#last = counts;
  }
}
