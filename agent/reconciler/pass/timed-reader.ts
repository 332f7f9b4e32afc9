/** Reads one subsystem with a time limit: if its reading hangs, it is unread, and all others continue. */

import { GatewayError } from "../../../lib/model/errors.ts";
import type { PassRequest } from "../pass-request.ts";
import type { Subsystem } from "../subsystem.ts";
import type { TimeLimits } from "../time-limits.ts";

export type Reading =
  | { readonly kind: "read"; readonly observed: unknown }
  | { readonly kind: "unread"; readonly error: GatewayError };

export interface TimedReaderOptions {
  readonly timeLimits: TimeLimits;
  /** Called when an abandoned reading ends after all: the next reading may succeed. */
  readonly onLateEnd: () => void;
  /** Minimum time to wait for a reading, in ms. */
  readonly minTimeLimitMs?: number;
  /** Monotonic clock. */
  readonly nowMs?: () => number;
}

/** Thirty thousand rules take one or two seconds on a busy machine. */
const defaultTimeLimitMs = 5_000;
/** The limit as a multiple of the last reading's time: a large set needs more time. */
const timeLimitFactor = 4;
/** The limit for a reading that already hangs. */
const shortTimeLimitMs = 200;

export class TimedReader {
  readonly #subsystem: Pick<Subsystem, "observe" | "planner">;
  readonly #options: TimedReaderOptions;
  #tookMs = 0;
  /** The abandoned reading. */
  #late: Promise<boolean> | undefined;

  constructor(subsystem: Pick<Subsystem, "observe" | "planner">, options: TimedReaderOptions) {
    this.#subsystem = subsystem;
    this.#options = options;
  }

  /** Returns a reading that began after the call. Throws everything that is not a `GatewayError`. */
  async read(request: PassRequest, signal: AbortSignal): Promise<Reading> {
    const { timeLimits, minTimeLimitMs = defaultTimeLimitMs } = this.#options;
    if (this.#late !== undefined && !(await timeLimits.wait(this.#late, shortTimeLimitMs, () => false)))
      return unread(new GatewayError("unreadable", "an earlier reading still hangs"));
    const timeLimitMs = Math.max(minTimeLimitMs, timeLimitFactor * this.#tookMs);
    let isAbandoned = false;
    const reading = this.#read(request, signal, () => isAbandoned);
    return timeLimits.wait(reading, timeLimitMs, () => {
      isAbandoned = true;
      this.#late = this.#whenOver(reading);
      return unread(new GatewayError("unreadable", `reading takes longer than ${timeLimitMs} ms`));
    });
  }

  async #read(request: PassRequest, signal: AbortSignal, isAbandoned: () => boolean): Promise<Reading> {
    const { nowMs = () => performance.now() } = this.#options;
    const begunMs = nowMs();
    try {
      const observed = await this.#subsystem.observe(signal, request);
      this.#tookMs = nowMs() - begunMs;
      return { kind: "read", observed };
    } catch (error) {
      if (error instanceof GatewayError) return unread(error);
      // The caller is gone: its client disconnected after the answer. No caller needs the reason of the abort.
      if (isAbandoned() && signal.aborted) return unread(new GatewayError("unreadable", "abandoned"));
      throw error;
    }
  }

  /** Its result is outdated by then: the next reading counts. */
  async #whenOver(reading: Promise<Reading>): Promise<true> {
    await reading.catch(() => undefined);
    this.#late = undefined;
    this.#options.onLateEnd();
    return true;
  }
}

function unread(error: GatewayError): Reading {
  return { kind: "unread", error };
}
