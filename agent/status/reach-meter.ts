/** Which EIPs answer ARP, by the names of their Eips. A series exists while something is known. */
import { type Chunked, everyNth } from "../../lib/chunked.ts";
import type { Metrics } from "./metrics.ts";

/** About a millisecond. */
const lookedAtOnce = 2_000;

export class ReachMeter {
  readonly #gauge: Metrics["eipReachable"];
  readonly #maxEips: number;
  #series: ReadonlySet<string> = new Set();

  constructor(gauge: Metrics["eipReachable"], maxEips: number) {
    this.#gauge = gauge;
    this.#maxEips = maxEips;
  }

  /**
   * @param eips in order of creation; of two that claim one address the older has it
   * @param answers by address
   */
  *update(
    eips: Iterable<{ readonly name: string; readonly address: string }>,
    answers: ReadonlyMap<string, boolean>,
  ): Chunked<void> {
    const series = new Set<string>();
    const left = new Map(answers);
    const isDue = everyNth(lookedAtOnce);
    for (const { name, address } of eips) {
      if (left.size === 0 || series.size >= this.#maxEips) break;
      if (isDue()) yield;
      const answer = left.get(address);
      if (answer === undefined) continue;
      left.delete(address);
      series.add(name);
      this.#gauge.set({ eip: name }, answer ? 1 : 0);
    }
    for (const eip of this.#series) if (!series.has(eip)) this.#gauge.remove({ eip });
    this.#series = series;
  }
}
