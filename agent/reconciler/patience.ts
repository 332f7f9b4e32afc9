/**
 * Waits for effects with a time limit, so that a tool that hangs delays nothing else. An abandoned effect runs until
 * its own deadline.
 */
import { GatewayError } from "../../lib/model/errors.ts";

export class Patience {
  readonly #left = new Set<Promise<unknown>>();

  /**
   * Throws what `effect` throws in time. An error after that which is not a `GatewayError` is a bug and ends the
   * process.
   *
   * @param giveUp called if `effect` did not end in time; its later result is visible only in the next reading
   */
  async wait<T>(effect: Promise<T>, patienceMs: number, giveUp: () => T | Promise<T>): Promise<T> {
    const { promise: late, resolve } = Promise.withResolvers<typeof gaveUp>();
    const timer = setTimeout(() => resolve(gaveUp), patienceMs);
    try {
      const first = await Promise.race([effect, late]);
      if (first !== gaveUp) return first;
    } finally {
      clearTimeout(timer);
    }
    this.#leave(effect);
    return giveUp();
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
    patienceMs: number,
    signal: AbortSignal,
    giveUp: (error: GatewayError) => T,
  ): Promise<T> {
    const givenUp = new AbortController();
    return this.wait(effect(AbortSignal.any([signal, givenUp.signal])), patienceMs, () => {
      const error = new GatewayError("command-failed", `${what} takes longer than ${patienceMs} ms`);
      givenUp.abort(error);
      return giveUp(error);
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

const gaveUp = Symbol("gave up");
