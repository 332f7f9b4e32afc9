/**
 * The loop that owns the passes. It is level-triggered: a wake only says that a pass must begin after it. Whatever woke it, the
 * pass reads the kernel again.
 *
 * INVARIANTS
 * - At most one pass runs at a time.
 * - A pass begins after every wake. Wakes during a pass share the next one.
 * - After every pass one timer is armed: for the resync, or sooner where the pass asked for it or failed. What failed is
 *   tried again at the resync interval at the latest.
 */
import type { PassReport } from "./pass/report.ts";
import type { PassRequest } from "./pass-request.ts";

export interface PassOutcome {
  readonly report: PassReport;
  /** When something falls due by itself: a retry, a lease's end. `undefined`: not before the resync. */
  readonly dueInMs: number | undefined;
}

export interface LoopOptions {
  /** Runs one pass; rejects only where the pass could not be made at all. */
  readonly pass: (request: PassRequest, signal: AbortSignal) => Promise<PassOutcome>;
  readonly resyncIntervalMs: number;
  /** Told of every pass that could not be made; the loop backs off and tries again. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
}

interface Waiter {
  readonly resolve: (report: PassReport) => void;
  readonly reject: (error: unknown) => void;
}

const firstRetryMs = 500;
const maxRetryMs = 30_000;
const timerReason = "timer";

export class ReconcileLoop {
  readonly #options: LoopOptions;
  readonly #abort = new AbortController();
  #reasons = new Set<string>();
  #isFullWanted = false;
  #waiters: Waiter[] = [];
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #isStarted = false;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Begins the first, full pass. */
  start(): void {
    this.#isStarted = true;
    this.#isFullWanted = true;
    this.wake("start");
  }

  wake(reason: string): void {
    this.#reasons.add(reason);
    if (!this.#isStarted || this.#abort.signal.aborted || this.#running !== undefined) return;
    this.#running = this.#runUntilQuiet();
  }

  /** A wake for a full pass: what only the timer would otherwise look at is looked at too. */
  wakeFull(reason: string): void {
    this.#isFullWanted = true;
    this.wake(reason);
  }

  /** The report of a full pass that begins after the call. Rejects where the pass fails, the signal aborts or the loop stops. */
  run(reason: string, signal: AbortSignal): Promise<PassReport> {
    if (this.#abort.signal.aborted) return Promise.reject(stopped());
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject };
      this.#waiters.push(waiter);
      signal.addEventListener(
        "abort",
        () => {
          this.#waiters = this.#waiters.filter((other) => other !== waiter);
          reject(signal.reason);
        },
        { once: true },
      );
      this.wakeFull(reason);
    });
  }

  /** Lets the pass in hand come to its end, begins no other. May be called twice. */
  async stop(): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    await this.#running;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(stopped());
  }

  async #runUntilQuiet(): Promise<void> {
    // Requests that arrived together share a pass: the loop begins after the turn that woke it.
    await new Promise(setImmediate);
    let delayMs = this.#options.resyncIntervalMs;
    while (this.#reasons.size > 0 && !this.#abort.signal.aborted) delayMs = await this.#runOnce();
    this.#running = undefined;
    if (!this.#abort.signal.aborted) this.#arm(delayMs);
  }

  /** @returns the milliseconds until the next pass is due by itself. */
  async #runOnce(): Promise<number> {
    const request = { reasons: [...this.#reasons], isFull: this.#isFullWanted };
    const waiters = this.#waiters;
    this.#reasons = new Set();
    this.#isFullWanted = false;
    this.#waiters = [];
    try {
      const { report, dueInMs } = await this.#options.pass(request, this.#abort.signal);
      this.#failures = 0;
      for (const waiter of waiters) waiter.resolve(report);
      return Math.min(dueInMs ?? Number.POSITIVE_INFINITY, this.#options.resyncIntervalMs);
    } catch (error) {
      // What this pass was to look at must be looked at by the next one.
      this.#isFullWanted = true;
      const retryInMs = this.#backOff(request);
      this.#options.onFailure(error, retryInMs);
      for (const waiter of waiters) waiter.reject(error);
      return retryInMs;
    }
  }

  /** Only a retry in vain makes the next one wait longer: those who wake the loop meanwhile are no reason to. */
  #backOff({ reasons }: PassRequest): number {
    const { resyncIntervalMs } = this.#options;
    if (reasons.includes(timerReason) || this.#failures === 0) this.#failures++;
    const doubled = firstRetryMs * 2 ** Math.min(this.#failures - 1, 16);
    return Math.min(doubled, maxRetryMs, resyncIntervalMs);
  }

  #arm(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.wakeFull(timerReason), delayMs);
  }
}

function stopped(): Error {
  return new Error("the agent is stopping");
}
