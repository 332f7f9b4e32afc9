/**
 * Turns of the event loop, shared out among all requests: one part of one request's work a turn, first come, first served.
 * However many ask for long answers at the same time, all else waits for no more than one part.
 */
import type { Chunked } from "../../../lib/chunked.ts";

export class Turns {
  readonly #waiting: (() => void)[] = [];

  /** Resolves in a turn of its own. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#waiting.length === 1) setImmediate(this.#give);
    });
  }

  /** Runs a long computation, a part a turn. Throws what it throws. */
  async run<T>(parts: Chunked<T>): Promise<T> {
    for (;;) {
      await this.next();
      const { done, value } = parts.next();
      if (done) return value;
    }
  }

  readonly #give = (): void => {
    // What waits does its part right after this, before the event loop goes on.
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(this.#give);
  };
}
