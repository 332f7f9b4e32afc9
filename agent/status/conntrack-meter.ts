/** Adds the counters of conntrack of all CPUs. Each has 32 bits: it wraps around in days of an attack. */
import {
  type ConntrackCounter,
  type ConntrackCounts,
  conntrackCounters,
  noCounts,
} from "../../lib/netlink/ctnetlink-statistics.ts";

/** By CPU. */
export type CountsByCpu = ReadonlyMap<number, ConntrackCounts>;

/**
 * Besides the kernel's own counters:
 *
 * - `full`: packets that were dropped because the table had no room for their flow. The kernel counts them as dropped only, and those
 *   of flows that found no place also as failed.
 * - `noPort`: packets that were dropped because SNAT found no free port. The kernel has no counter for that; see {@link noPortOf}.
 */
export type MeteredCounter = ConntrackCounter | "full" | "noPort";

/** The least number of used ports that the kernel tries before it gives up: 128 for TCP, 248 for other protocols. */
export const triesOfSnat = 128;

export class ConntrackMeter {
  readonly #onCounted: (counter: MeteredCounter, more: number) => void;
  #last: CountsByCpu = new Map();

  constructor(onCounted: (counter: MeteredCounter, more: number) => void) {
    this.#onCounted = onCounted;
  }

  update(counts: CountsByCpu): void {
    const more = noCounts();
    let noPort = 0;
    for (const [cpu, now] of counts) {
      const before = this.#last.get(cpu);
      const ofCpu = noCounts();
      for (const counter of conntrackCounters) {
        ofCpu[counter] = (now[counter] - (before?.[counter] ?? 0)) >>> 0;
        more[counter] += ofCpu[counter];
      }
      noPort += noPortOf(ofCpu);
    }
    for (const counter of conntrackCounters) this.#onCounted(counter, more[counter]);
    this.#onCounted("full", Math.max(more.drop - clashesIn(more), 0));
    this.#onCounted("noPort", noPort);
    this.#last = counts;
  }
}

/**
 * The packets for which SNAT found no port, as far as the counters of one CPU tell. Such a packet keeps the last tuple that was tried,
 * which is taken, so its entry cannot be inserted (`insertFailed`). Other causes of that are a chain of the hash table that is too long,
 * which has a counter of its own, and two packets of one new flow on two CPUs. Only a search for a port finds many tuples in use
 * (`found`), so there are no more failures than such searches.
 */
function noPortOf(counts: ConntrackCounts): number {
  return Math.min(clashesIn(counts), Math.floor(counts.found / triesOfSnat));
}

/** Packets of entries that could not be inserted because another one had their tuple. The kernel counts them as dropped, too. */
function clashesIn({ insertFailed, chainTooLong }: ConntrackCounts): number {
  return Math.max(insertFailed - chainTooLong, 0);
}
