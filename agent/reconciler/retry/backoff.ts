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
    const delayMs = Math.min(firstDelayMs * 2 ** (attempts - 1), maxDelayMs);
    this.#entries.set(key, { message, attempts, retryAtMs: nowMs + delayMs });
  }

  /** Keys whose next try is not due yet: leave them out for now. */
  waiting(nowMs: number): ReadonlyMap<Key, BackoffEntry> {
    return new Map([...this.#entries].filter(([, entry]) => entry.retryAtMs > nowMs));
  }

  /** Forgets `key`: it succeeded, or it has changed. */
  clear(key: Key): void {
    this.#entries.delete(key);
  }

  keys(): IterableIterator<Key> {
    return this.#entries.keys();
  }

  /** All keys, due or not. */
  entries(): ReadonlyMap<Key, BackoffEntry> {
    return this.#entries;
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
