/** Bytes that all requests together may hold at a time. A request for more than is left waits: first come, first served. */
import { GatewayError } from "../../../lib/model/errors.ts";

interface Waiter {
  readonly bytes: number;
  readonly settle: (isGranted: boolean) => void;
}

export class ByteBudget {
  readonly #total: number;
  readonly #waitMs: number;
  readonly #waiting = new Set<Waiter>();
  #left: number;

  /** @param waitMs after which those who wait are refused */
  constructor(total: number, waitMs: number) {
    this.#total = total;
    this.#left = total;
    this.#waitMs = waitMs;
  }

  /**
   * Takes `bytes`, or all that there is if that is less.
   *
   * @returns gives them back; may be called twice
   * @throws `overloaded` where they did not come free in time, or the signal aborted
   */
  async take(bytes: number, signal: AbortSignal): Promise<() => void> {
    const taken = Math.min(bytes, this.#total);
    const isFree = this.#waiting.size === 0 && taken <= this.#left;
    if (isFree) this.#left -= taken;
    else if (!(await this.#granted(taken, signal)))
      throw new GatewayError("overloaded", "Too many large bodies are under way");
    let isOut = true;
    return () => {
      if (!isOut) return;
      isOut = false;
      this.#left += taken;
      this.#grant();
    };
  }

  #granted(bytes: number, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (isGranted: boolean): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", giveUp);
        this.#waiting.delete(waiter);
        resolve(isGranted);
      };
      const giveUp = (): void => {
        settle(false);
        // Those behind may need less.
        this.#grant();
      };
      const waiter: Waiter = { bytes, settle };
      const timer = setTimeout(giveUp, this.#waitMs);
      signal.addEventListener("abort", giveUp, { once: true });
      this.#waiting.add(waiter);
    });
  }

  #grant(): void {
    for (const { bytes, settle } of this.#waiting) {
      if (bytes > this.#left) return;
      this.#left -= bytes;
      settle(true);
    }
  }
}
