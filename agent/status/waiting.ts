/** Those who wait for a pass to bring about what they wrote. */

/** The outcome of waiting: all as asked, nothing more to be hoped for, or time is up. */
export type WaitOutcome = "done" | "settled" | "timeout" | "stopping";

/** How things stand for somebody who waits; `undefined` while there is something to wait for. */
type Judge = () => WaitOutcome | undefined;

export class Waiting {
  readonly #waiters = new Set<() => void>();

  /** Settles as soon as the judge knows, when the time is up, or when the signal aborts; never rejects. */
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

  /** Something may have changed: everyone who waits is judged anew. */
  look(): void {
    for (const look of [...this.#waiters]) look();
  }
}
