/**
 * Reads the kernel's counters for the metrics, so that a scrape reads nothing: at the start, then as long as somebody
 * scrapes. Its share of a core is bounded: after a slow reading the next one waits. The first scrape after a long time without
 * one waits for the reading that it brings about: it would show counters of long ago.
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
/** A scrape waits no longer. */
const maxWaitMs = 1_000;
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
  /** CPU time of the reading thread. It includes other work of that thread during the reading, and excludes waiting. */
  readonly cpuMs?: () => number;
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

export class TimedReading {
  readonly #deps: Required<TimedReadingDeps>;
  readonly #stopping = new AbortController();
  #ended: Promise<void> = Promise.resolve();
  #wantedAtMs = Number.NEGATIVE_INFINITY;
  #onWanted: (() => void) | undefined;
  /** True from the start, or from the first scrape after a long time, to the end of the reading that follows. */
  #isDue = false;
  readonly #onRead = new Set<() => void>();

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
    this.#isDue = true;
    this.#ended = this.#run();
  }

  /** To be called on each scrape. Resolves at once if the counters are recent, otherwise after the next reading or {@link maxWaitMs}. */
  async want(): Promise<void> {
    this.#wantedAtMs = this.#deps.nowMs();
    if (this.#onWanted !== undefined) this.#isDue = true;
    this.#onWanted?.();
    if (!this.#isDue) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onRead.add(resolve);
    const timer = setTimeout(resolve, maxWaitMs);
    await promise;
    clearTimeout(timer);
    this.#onRead.delete(resolve);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#onWanted?.();
    await this.#ended;
    this.#tellRead();
  }

  #tellRead(): void {
    this.#isDue = false;
    for (const resolve of this.#onRead) resolve();
  }

  async #run(): Promise<void> {
    const { nowMs, cpuMs, pause, unwantedMs } = this.#deps;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const begunMs = cpuMs();
      await this.#read();
      this.#tellRead();
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
