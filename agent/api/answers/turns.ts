/**
 * Shares the turns of the event loop among all requests: one part of one request per turn, first come, first served.
 * However many long answers are requested, everything else waits for one part at most.
 */
import type { Chunked } from "../../../lib/chunked.ts";

export class Turns {
  readonly #waiting: (() => void)[] = [];

  /** Resolves in a separate turn. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === 1) setImmediate(this.#give);
    });
  }

  /** Runs a long computation, one part per turn. Throws what it throws. */
  async run<T>(parts: Chunked<T>): Promise<T> {
    for (;;) {
      await this.next();
      const { done, value } = parts.next();
      if (done) return value;
    }
  }

  readonly #give = (): void => {
    // The next waiting part runs right after this one, before the event loop continues.
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(this.#give);
  };
}
