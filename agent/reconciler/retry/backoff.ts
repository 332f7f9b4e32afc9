/**
 * Failed things, each with the time of its next try: 10 s after the first failure, doubling to 5 min. Times are
 * milliseconds of a monotonic clock that the caller reads.
 */
export interface BackoffEntry {
  readonly message: string;
  readonly attempts: number;
  readonly retryAtMs: number;
}

const firstDelayMs = 10_000;
const maxDelayMs = 300_000;

export class Backoff<Key> {
  readonly #entries = new Map<Key, BackoffEntry>();

  /** Counts one more failure of `key`. */
  record(key: Key, message: string, nowMs: number): void {
    const attempts = (this.#entries.get(key)?.attempts ?? 0) + 1;
    this.#entries.set(key, { message, attempts, retryAtMs: nowMs + delayMsAfter(attempts) });
  }

  /** Waits for the same pause again: the try that was due showed neither success nor failure. */
  postpone(key: Key, nowMs: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.set(key, { ...entry, retryAtMs: nowMs + delayMsAfter(entry.attempts) });
  }

  /** Makes every key due now, and starts its pauses at the shortest one: a request says that the cause is gone. */
  retryAll(nowMs: number): void {
    for (const [key, { message }] of this.#entries)
      this.#entries.set(key, { message, attempts: 0, retryAtMs: nowMs });
  }

  /** Keys whose next try is not due yet: leave them out for now. */
  waiting(nowMs: number): ReadonlyMap<Key, BackoffEntry> {
    return new Map([...this.#entries].filter(([, entry]) => entry.retryAtMs > nowMs));
  }

  /** Forgets `key`: it succeeded, or it has changed. */
  clear(key: Key): void {
    this.#entries.delete(key);
  }

  /** Keys whose next try is due. */
  due(nowMs: number): ReadonlySet<Key> {
    return new Set([...this.#entries].filter(([, { retryAtMs }]) => retryAtMs <= nowMs).map(([key]) => key));
  }

  /** Milliseconds until the next try is due. `undefined` if there is none. */
  dueInMs(nowMs: number): number | undefined {
    let due: number | undefined;
    for (const { retryAtMs } of this.#entries.values()) {
      const inMs = Math.max(0, retryAtMs - nowMs);
      if (due === undefined || inMs < due) due = inMs;
    }
    return due;
  }
}

function delayMsAfter(attempts: number): number {
  return Math.min(firstDelayMs * 2 ** Math.max(attempts - 1, 0), maxDelayMs);
}
