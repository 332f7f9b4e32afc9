/** Turns what the kernel counts of dropped packets into counters that never go back. */
import { GatewayError } from "../../lib/model/errors.ts";
import type { DropCounter, DropCounts } from "../../lib/nftables/barrier.ts";

/** The share of a core that reading may take. */
const maxShare = 0.01;
const timeoutMs = 1_000;

export interface DropMeterDeps {
  readonly read: (signal: AbortSignal) => Promise<DropCounts>;
  /** Told of packets that were dropped since the last reading. */
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

  /** Where a reading took long, the next one waits. What cannot be read now is told later. */
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
      // Made anew, it began at nothing.
      const dropped = packets < before ? packets : packets - before;
      this.#deps.onDropped(labelsOf(counter), dropped);
    }
    this.#last = new Map([...this.#last, ...counts]);
  }
}

/** `guard_invalid_egress`: the reason, and the direction as seen from the VPC. */
function labelsOf(counter: DropCounter) {
  const at = counter.lastIndexOf("_");
  return { reason: counter.slice(0, at), direction: counter.slice(at + 1) };
}
