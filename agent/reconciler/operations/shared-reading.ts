/**
 * Shares readings between requests that cost the kernel and the event loop something: a request waits for the next
 * reading that begins after it, and all that wait get the same one. Between two readings is a pause, so that somebody
 * who asks without end cannot delay passes.
 */
import { setTimeout as delay } from "node:timers/promises";
import { GatewayError } from "../../../lib/model/errors.ts";

export interface SharedReadingOptions<T> {
  readonly read: (signal: AbortSignal) => Promise<T>;
  /** Maximum number of requests that wait. */
  readonly maxWaiting?: number;
  readonly deadlineMs?: number;
  /** Monotonic clock. */
  readonly nowMs?: () => number;
  readonly sleep?: (ms: number) => Promise<unknown>;
}

/** The pause after a reading, as a multiple of its time: readings take at most a fifth of the time. */
const pauseFactor = 4;
const maxPauseMs = 2_000;

const sleep = (ms: number) => delay(ms, undefined, { ref: false });

export class SharedReading<T> {
  readonly #options: Required<SharedReadingOptions<T>>;
  /** The reading that has not begun. */
  #next: Promise<T> | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(options: SharedReadingOptions<T>) {
    this.#options = { maxWaiting: 64, deadlineMs: 30_000, nowMs: () => performance.now(), sleep, ...options };
  }

  /**
   * A reading that begins after the call.
   * @throws `overloaded` if too many wait; the reason of `signal`
   */
  async get(signal: AbortSignal): Promise<T> {
    if (this.#waiting >= this.#options.maxWaiting)
      throw new GatewayError("overloaded", "Too many requests wait for a reading of the kernel");
    this.#waiting++;
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      signal.throwIfAborted();
      this.#next ??= this.#queue();
      return await Promise.race([this.#next, aborted]);
    } finally {
      signal.removeEventListener("abort", abort);
      this.#waiting--;
    }
  }

  #queue(): Promise<T> {
    const { read, deadlineMs, nowMs, sleep } = this.#options;
    const reading = this.#running.then(async () => {
      this.#next = undefined;
      const begunMs = nowMs();
      const pause = () => sleep(Math.min(maxPauseMs, pauseFactor * (nowMs() - begunMs)));
      const result = read(AbortSignal.timeout(deadlineMs));
      this.#running = result.then(pause, pause);
      return result;
    });
    // All callers may have aborted.
    reading.catch(() => undefined);
    return reading;
  }
}
