/** Requests that wait for a pass to apply what they wrote. */

/**
 * `done`: everything is as asked. `settled`: no later pass can change the answer. `timeout` and `stopping`: waiting
 * ended.
 */
export type WaitOutcome = "done" | "settled" | "timeout" | "stopping";

/** Checks what a request waits for. `undefined` while it has to go on waiting. */
type Judge = () => WaitOutcome | undefined;

export class Waiting {
  readonly #waiters = new Set<() => void>();

  /** Resolves when `judge` gives an outcome, after `timeoutMs`, or when the signal aborts. Never rejects. */
  wait(judge: Judge, timeoutMs: number, signal: AbortSignal): Promise<WaitOutcome> {
    const now = judge();
    if (now !== undefined) return Promise.resolve(now);
    if (signal.aborted) return Promise.resolve("timeout");
    return new Promise((resolve) => {
      const finish = (outcome: WaitOutcome) => {
        clearTimeout(timer);
        this.#waiters.delete(look);
        signal.removeEventListener("abort", onAbort);
        resolve(outcome);
      };
      const onAbort = () => finish("timeout");
      const timer = setTimeout(onAbort, timeoutMs);
      const look = () => {
        const outcome = judge();
        if (outcome !== undefined) finish(outcome);
      };
      this.#waiters.add(look);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Something may have changed: checks all waiting requests again. */
  look(): void {
    for (const look of [...this.#waiters]) look();
  }
}
