/** Reads one subsystem for as long as that may take: one whose reading hangs is unread, and all others go on. */

import { GatewayError } from "../../../lib/model/errors.ts";
import type { PassRequest } from "../pass-request.ts";
import type { Patience } from "../patience.ts";
import type { Subsystem } from "../subsystem.ts";

export type Reading =
  | { readonly kind: "read"; readonly observed: unknown }
  | { readonly kind: "unread"; readonly error: GatewayError };

export interface PatientReaderOptions {
  readonly patience: Patience;
  /** A reading that nobody waited for any longer came to its end: another may find all as it should be. */
  readonly onLateEnd: () => void;
  /** How long a reading is waited for at least. */
  readonly minPatienceMs?: number;
  /** Monotonic. */
  readonly nowMs?: () => number;
}

/** Thirty thousand rules take a second or two on a busy machine. */
const defaultPatienceMs = 5_000;
/** As often as the last reading took: what grows with the set takes its time. */
const patienceFactor = 4;
/** For one that hangs already. */
const shortPatienceMs = 200;

export class PatientReader {
  readonly #subsystem: Pick<Subsystem, "observe" | "planner">;
  readonly #options: PatientReaderOptions;
  #tookMs = 0;
  /** The reading that nobody waits for any longer. */
  #late: Promise<boolean> | undefined;

  constructor(subsystem: Pick<Subsystem, "observe" | "planner">, options: PatientReaderOptions) {
    this.#subsystem = subsystem;
    this.#options = options;
  }

  /** A reading that began after the call. Throws what is no `GatewayError`. */
  async read(request: PassRequest, signal: AbortSignal): Promise<Reading> {
    const { patience, minPatienceMs = defaultPatienceMs } = this.#options;
    if (this.#late !== undefined && !(await patience.wait(this.#late, shortPatienceMs, () => false)))
      return unread(new GatewayError("unreadable", "an earlier reading hangs"));
    const patienceMs = Math.max(minPatienceMs, patienceFactor * this.#tookMs);
    const reading = this.#read(request, signal);
    return patience.wait(reading, patienceMs, () => {
      this.#late = this.#whenOver(reading);
      return unread(new GatewayError("unreadable", `it takes longer than ${patienceMs} ms`));
    });
  }

  async #read(request: PassRequest, signal: AbortSignal): Promise<Reading> {
    const { nowMs = () => performance.now() } = this.#options;
    const begunMs = nowMs();
    try {
      const observed = await this.#subsystem.observe(signal, request);
      this.#tookMs = nowMs() - begunMs;
      return { kind: "read", observed };
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return unread(error);
    }
  }

  /** What it found is old by then: the next reading tells. */
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
