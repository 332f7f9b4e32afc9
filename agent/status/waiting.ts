/** Requests that wait for a pass to apply what they wrote. */
import type { Chunked } from "../../lib/chunked.ts";

/**
 * `done`: everything is as asked. `settled`: no later pass can change the answer. `timeout` and `stopping`: waiting
 * ended.
 */
export type WaitOutcome = "done" | "settled" | "timeout" | "stopping";

/** Checks what a request waits for. `undefined` while it has to go on waiting. In parts: it may wait for thousands. */
type Judge = () => Chunked<WaitOutcome | undefined>;

export class Waiting {
  readonly #waiters = new Set<Waiter>();

  /** Resolves when `judge` gives an outcome, after `timeoutMs`, or when the signal aborts. Never rejects. */
  wait(judge: Judge, timeoutMs: number, signal: AbortSignal): Promise<WaitOutcome> {
    return new Promise((resolve) => {
      const finish = (outcome: WaitOutcome) => {
        waiter.stop();
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        signal.removeEventListener("abort", onAbort);
        resolve(outcome);
      };
      const onAbort = () => finish("timeout");
      const timer = setTimeout(onAbort, timeoutMs);
      const waiter = new Waiter(judge, finish);
      this.#waiters.add(waiter);
      signal.addEventListener("abort", onAbort, { once: true });
      waiter.look();
      if (signal.aborted) onAbort();
    });
  }

  /** Something may have changed: checks all waiting requests again. */
  look(): void {
    for (const waiter of [...this.#waiters]) waiter.look();
  }
}

/** One request. If something changes during a judgement that takes several turns, another judgement follows. */
class Waiter {
  readonly #judge: Judge;
  readonly #finish: (outcome: WaitOutcome) => void;
  #judging: ReturnType<Judge> | undefined;
  #isDue = false;
  #next: NodeJS.Immediate | undefined;

  constructor(judge: Judge, finish: (outcome: WaitOutcome) => void) {
    this.#judge = judge;
    this.#finish = finish;
  }

  look(): void {
    this.#isDue = true;
    if (this.#judging === undefined) this.#goOn();
  }

  stop(): void {
    clearImmediate(this.#next);
    this.#isDue = false;
  }

  readonly #goOn = (): void => {
    if (this.#judging === undefined) {
      if (!this.#isDue) return;
      this.#isDue = false;
      this.#judging = this.#judge();
    }
    const { done, value } = this.#judging.next();
    if (!done) {
      this.#next = setImmediate(this.#goOn);
      return;
    }
    this.#judging = undefined;
    if (value === undefined) this.#goOn();
    else this.#finish(value);
  };
}
