/**
 * Reads the kernel's counters for the metrics, so that a scrape reads nothing: at the start, then as long as somebody
 * scrapes. Its share of a core is bounded: after a slow reading the next one waits.
 */
import { setTimeout as delay } from "node:timers/promises";
import { GatewayError } from "../../lib/model/errors.ts";

/** The share of a core that reading may take. */
const maxShare = 0.01;
/** The age of counters, if reading them is cheap, and at most. */
const minPauseMs = 2_000;
const maxPauseMs = 60_000;
/** Longer than any useful scrape interval. */
const defaultUnwantedMs = 300_000;
/** For one reader. */
const timeoutMs = 10_000;

/** One of them that fails keeps its last values. */
export type Reader = (signal: AbortSignal) => Promise<void>;

export interface TimedReadingDeps {
  readonly readers: readonly Reader[];
  readonly onFailure: (error: GatewayError) => void;
  /** Without a scrape for so long nothing is read. */
  readonly unwantedMs?: number;
  /** Monotonic. */
  readonly nowMs?: () => number;
  /** CPU time of the thread that reads. What else it does meanwhile counts too, waiting does not. */
  readonly cpuMs?: () => number;
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

export class TimedReading {
  readonly #deps: Required<TimedReadingDeps>;
  readonly #stopping = new AbortController();
  #ended: Promise<void> = Promise.resolve();
  #wantedAtMs = Number.NEGATIVE_INFINITY;
  #onWanted: (() => void) | undefined;

  constructor(deps: TimedReadingDeps) {
    this.#deps = {
      unwantedMs: defaultUnwantedMs,
      nowMs: () => performance.now(),
      cpuMs: threadCpuMs,
      pause: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
      ...deps,
    };
  }

  start(): void {
    this.#ended = this.#run();
  }

  /** Somebody reads the metrics. */
  want(): void {
    this.#wantedAtMs = this.#deps.nowMs();
    this.#onWanted?.();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#onWanted?.();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { nowMs, cpuMs, pause, unwantedMs } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const begunMs = cpuMs();
      await this.#read();
      const dueInMs = Math.max(minPauseMs, (cpuMs() - begunMs) / maxShare);
      await pause(Math.min(dueInMs, maxPauseMs), signal).catch(ignoreAbort);
      if (nowMs() - this.#wantedAtMs < unwantedMs || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        this.#onWanted = resolve;
      });
      this.#onWanted = undefined;
    }
  }

  async #read(): Promise<void> {
    const { readers, onFailure } = this.#deps;
    const { signal } = this.#stopping;
    for (const read of readers) {
      if (signal.aborted) return;
      try {
        await read(AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
      } catch (error) {
        if (signal.aborted) return;
        onFailure(asGatewayError(error));
      }
    }
  }
}

function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  if (error instanceof Error && error.name === "TimeoutError")
    return new GatewayError("netlink-failed", `no counters within ${timeoutMs} ms`, { cause: error });
  throw error;
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function ignoreAbort(error: unknown): void {
  if (!(error instanceof Error && error.name === "AbortError")) throw error;
}
