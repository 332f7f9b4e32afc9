/** Turns the kernel's counters of dropped packets, which can restart at 0, into counters that never go back. */
import { GatewayError } from "../../lib/model/errors.ts";
import type { DropCounter, DropCounts } from "../../lib/nftables/filter-tables.ts";

/** The share of a core that reading may take. */
const maxShare = 0.01;
const timeoutMs = 1_000;

export interface DropMeterDeps {
  readonly read: (signal: AbortSignal) => Promise<DropCounts>;
  /** Called with the number of packets that were dropped since the last reading. */
  readonly onDropped: (
    labels: { readonly reason: string; readonly direction: string },
    packets: number,
  ) => void;
  /** Monotonic. */
  readonly nowMs?: () => number;
}

export class DropMeter {
  readonly #deps: Required<DropMeterDeps>;
  #last: DropCounts = new Map();
  #dueAtMs = 0;

  constructor(deps: DropMeterDeps) {
    this.#deps = { nowMs: () => performance.now(), ...deps };
  }

  /** Reads the counters. After a slow reading the next one waits. After a failed one, packets are reported later. */
  async update(): Promise<void> {
    const { read, nowMs } = this.#deps;
    const begunMs = nowMs();
    if (begunMs < this.#dueAtMs) return;
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    try {
      this.#note(await read(AbortSignal.timeout(timeoutMs)));
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
    } finally {
      const endedMs = nowMs();
      this.#dueAtMs = endedMs + (endedMs - begunMs) / maxShare;
    }
  }

  #note(counts: DropCounts): void {
    for (const [counter, { packets }] of counts) {
      const before = this.#last.get(counter)?.packets ?? 0;
      // The counter was created again: it started at 0.
      const dropped = packets < before ? packets : packets - before;
      this.#deps.onDropped(labelsOf(counter), dropped);
    }
    this.#last = new Map([...this.#last, ...counts]);
  }
}

/** `guard_invalid_egress`: the reason, and the direction as lib/nftables/filter-tables.ts says. */
function labelsOf(counter: DropCounter) {
  const at = counter.lastIndexOf("_");
  return { reason: counter.slice(0, at), direction: counter.slice(at + 1) };
}
