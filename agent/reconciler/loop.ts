/**
 * The loop that runs the passes. It is level-triggered: a wake only says that a pass must begin after it, and why. What a
 * pass writes follows from its reading of the kernel; the reason decides how much of it the pass reads.
 *
 * INVARIANTS
 * - At most one pass runs at a time.
 * - A pass begins after every wake. Wakes during a pass share the next one.
 * - One timer is armed while no pass runs: for the resync, or earlier if the last pass asked for it or failed. A failure is
 *   retried at the resync interval at the latest.
 * - The resync interval counts from the end of the last resync, however many other passes there are.
 */
import type { PassReport } from "./pass/report.ts";
import type { PassRequest } from "./pass-request.ts";

export interface PassOutcome {
  readonly report: PassReport;
  /** When something is due without a wake: a retry, the end of a lease. `undefined`: not before the resync. */
  readonly dueInMs: number | undefined;
}

export interface LoopOptions {
  /** Runs one pass. Rejects only if the pass could not run at all. */
  readonly pass: (request: PassRequest, signal: AbortSignal) => Promise<PassOutcome>;
  readonly resyncIntervalMs: number;
  /** Called for every pass that could not run. The loop backs off and tries again. */
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
  #isResyncWanted = false;
  #isRetryWanted = false;
  #waiters: Waiter[] = [];
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When the last resync ended. */
  #resyncedMs = performance.now();
  #failures = 0;
  #isStarted = false;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Starts the first pass, a resync. */
  start(): void {
    this.#isStarted = true;
    this.#isResyncWanted = true;
    this.wake("start");
  }

  wake(reason: string): void {
    this.#reasons.add(reason);
    if (!this.#isStarted || this.#abort.signal.aborted || this.#running !== undefined) return;
    this.#running = this.#runUntilQuiet();
  }

  /** Requests a resync: a full pass that also does what otherwise only the timer starts. */
  resync(reason: string): void {
    this.#isResyncWanted = true;
    this.wake(reason);
  }

  /**
   * Resolves with the report of a resync that begins after the call. Rejects if the pass fails, the signal aborts or
   * the loop stops.
   *
   * @param isRetry true: the pass also does what waits for its next try ({@link PassRequest.isRetry})
   */
  run(reason: string, signal: AbortSignal, isRetry = false): Promise<PassReport> {
    if (this.#abort.signal.aborted) return Promise.reject(stopped());
    this.#isRetryWanted ||= isRetry;
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
      this.resync(reason);
    });
  }

  /** Lets the current pass end and starts no other. Can be called twice. */
  async stop(): Promise<void> {
    this.#abort.abort();
    clearTimeout(this.#timer);
    await this.#running;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(stopped());
  }

  async #runUntilQuiet(): Promise<void> {
    // What the last pass left to a later one is done by this one, which says what is due after it.
    clearTimeout(this.#timer);
    // Start after the turn that woke the loop, so that requests of one turn share a pass.
    await new Promise(setImmediate);
    let delayMs = this.#resyncInMs();
    while (this.#reasons.size > 0 && !this.#abort.signal.aborted) delayMs = await this.#runOnce();
    this.#running = undefined;
    if (!this.#abort.signal.aborted) this.#arm(delayMs);
  }

  /** @returns milliseconds until the next pass is due */
  async #runOnce(): Promise<number> {
    const request: PassRequest = {
      reasons: [...this.#reasons],
      isResync: this.#isResyncWanted,
      ...(this.#isRetryWanted && { isRetry: true }),
    };
    const waiters = this.#waiters;
    this.#reasons = new Set();
    this.#isResyncWanted = false;
    this.#isRetryWanted = false;
    this.#waiters = [];
    try {
      const { report, dueInMs } = await this.#options.pass(request, this.#abort.signal);
      if (request.isResync) this.#resyncedMs = performance.now();
      this.#failures = 0;
      for (const waiter of waiters) waiter.resolve(report);
      return Math.min(dueInMs ?? Number.POSITIVE_INFINITY, this.#resyncInMs());
    } catch (error) {
      // The next pass must cover what this one should have covered.
      this.#isResyncWanted = true;
      this.#isRetryWanted ||= request.isRetry ?? false;
      const retryInMs = this.#backOff(request);
      this.#options.onFailure(error, retryInMs);
      for (const waiter of waiters) waiter.reject(error);
      return retryInMs;
    }
  }

  /** Only a failed retry makes the next pause longer, not other wakes in between. */
  #backOff({ reasons }: PassRequest): number {
    const { resyncIntervalMs } = this.#options;
    if (reasons.includes(timerReason) || this.#failures === 0) this.#failures++;
    const doubled = firstRetryMs * 2 ** Math.min(this.#failures - 1, 16);
    return Math.min(doubled, maxRetryMs, resyncIntervalMs);
  }

  #resyncInMs(): number {
    return Math.max(0, this.#resyncedMs + this.#options.resyncIntervalMs - performance.now());
  }

  #arm(delayMs: number): void {
    this.#timer = setTimeout(() => this.resync(timerReason), delayMs);
  }
}

function stopped(): Error {
  return new Error("the agent is stopping");
}
