/**
 * Waits for effects with a time limit, so that a tool that hangs delays nothing else. An abandoned effect runs until
 * its own deadline.
 */
import { GatewayError } from "../../lib/model/errors.ts";

export class TimeLimits {
  readonly #left = new Set<Promise<unknown>>();

  /**
   * Throws what `effect` throws in time. An error after that which is not a `GatewayError` is a bug and ends the
   * process.
   *
   * @param onTimeout called if `effect` did not end in time; its later result is visible only in the next reading
   */
  async wait<T>(effect: Promise<T>, timeoutMs: number, onTimeout: () => T | Promise<T>): Promise<T> {
    const { promise: late, resolve } = Promise.withResolvers<typeof timedOut>();
    const timer = setTimeout(() => resolve(timedOut), timeoutMs);
    try {
      const first = await Promise.race([effect, late]);
      if (first !== timedOut) return first;
    } finally {
      clearTimeout(timer);
    }
    this.#leave(effect);
    return onTimeout();
  }

  /**
   * The same for an effect with several steps. When it is abandoned, the current step is finished and no other begins,
   * because its signal aborts.
   *
   * @param what is done, for the error text: "writing addresses"
   */
  run<T>(
    what: string,
    effect: (signal: AbortSignal) => Promise<T>,
    timeoutMs: number,
    signal: AbortSignal,
    onTimeout: (error: GatewayError) => T,
  ): Promise<T> {
    const timeout = new AbortController();
    return this.wait(effect(AbortSignal.any([signal, timeout.signal])), timeoutMs, () => {
      const error = new GatewayError("command-failed", `${what} takes longer than ${timeoutMs} ms`);
      timeout.abort(error);
      return onTimeout(error);
    });
  }

  /** Resolves when no abandoned effect is running any more. */
  async settled(): Promise<void> {
    while (this.#left.size > 0) await Promise.all(this.#left);
  }

  #leave(effect: Promise<unknown>): void {
    const end = effect
      .catch((error: unknown) => {
        const isAborted = error instanceof Error && error.name === "AbortError";
        if (!isAborted && !(error instanceof GatewayError)) throw error;
      })
      .finally(() => this.#left.delete(end));
    this.#left.add(end);
  }
}

const timedOut = Symbol("timed out");
