/**
 * Waiting for effects, but only so long: a tool that hangs holds up nobody else. What is no longer waited for goes on to its own
 * deadline.
 */
import { GatewayError } from "../../lib/model/errors.ts";

export class Patience {
  readonly #left = new Set<Promise<unknown>>();

  /**
   * Throws what `effect` throws in time. What is no `GatewayError` and comes later is a bug, and ends the process.
   *
   * @param giveUp called where `effect` did not end in time; what becomes of that then, the next reading tells
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
   * The same of an effect that has steps: what is in hand when it is given up is finished, and nothing further is begun, since its
   * signal aborts.
   */
  run<T>(
    effect: (signal: AbortSignal) => Promise<T>,
    patienceMs: number,
    signal: AbortSignal,
    giveUp: (error: GatewayError) => T,
  ): Promise<T> {
    const givenUp = new AbortController();
    return this.wait(effect(AbortSignal.any([signal, givenUp.signal])), patienceMs, () => {
      const error = new GatewayError("command-failed", `it takes longer than ${patienceMs} ms`);
      givenUp.abort(error);
      return giveUp(error);
    });
  }

  /** Resolves once nothing that was given up is under way any more. */
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
