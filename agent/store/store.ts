/**
 * The durable state with group commit.
 *
 * INVARIANTS
 * 1. `current` is durable: no one sees a state that a crash could take back.
 * 2. Whatever a decision was answered with rests on a state that is durable when the answer is given, a refusal too.
 * 3. A group is one line of the journal: all of it survives, or none.
 */
import { setImmediate } from "node:timers/promises";
import { GatewayError } from "../../lib/model/errors.ts";
import { Journal, type JournalDeps } from "./journal.ts";
import { type Recovery, recover } from "./recovery.ts";

/** What a transaction decides on the newest state: changes that belong together, and the caller's result. */
export type Decide<State, Change, T> = (state: State) => {
  readonly changes: readonly Change[];
  readonly result: T;
};

export type Listener<State, Change> = (state: State, changes: readonly Change[]) => void;

/** Transactions of one group: small ones run in one turn of the event loop, which must not last. */
const maxGroup = 128;
/** Changes that take so long that others are let in between. */
const manyChanges = 1_000;
/** Transactions that may wait. A disk that hangs must not make the queue grow without end. */
const maxQueue = 4096;

/** Recovers the state in `directory`, which it closes in the end. Throws where it cannot be read. */
export async function startStore<State, Change>(
  deps: JournalDeps<State, Change>,
): Promise<Store<State, Change>> {
  const recovered = await recover(deps.directory, deps.codec, deps.now, deps.log);
  return new Store(deps, new Journal(deps, recovered), recovered.state, recovered.recovery);
}

export class Store<State, Change> {
  /** How the state was found at the start. */
  readonly recovery: Recovery;
  readonly #deps: JournalDeps<State, Change>;
  readonly #journal: Journal<State, Change>;
  readonly #listeners = new Set<Listener<State, Change>>();
  readonly #queue: Transaction<State, Change>[] = [];
  #current: State;
  #failure: GatewayError | undefined;
  #flushing: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    deps: JournalDeps<State, Change>,
    journal: Journal<State, Change>,
    state: State,
    recovery: Recovery,
  ) {
    this.#deps = deps;
    this.#journal = journal;
    this.#current = state;
    this.recovery = recovery;
  }

  /** The last durable state. */
  get current(): State {
    return this.#current;
  }

  /** Why the last write failed; `undefined` while writes succeed. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /**
   * Runs `decide` on the newest state, alone, and resolves once its changes are durable, with the state right after
   * them. What `decide` throws is thrown here. Throws `storage-unavailable` where the disk refused, and after close.
   */
  transact<T>(decide: Decide<State, Change, T>): Promise<{ readonly state: State; readonly result: T }> {
    if (this.#closing !== undefined) return Promise.reject(unavailable("the store is closed"));
    if (this.#queue.length >= maxQueue) return Promise.reject(unavailable("the disk does not keep up"));
    return new Promise((resolve, reject) => {
      const run = (before: State): Outcome<State, Change> => {
        const { changes, result } = decide(before);
        return { changes, settle: (after) => resolve({ state: after, result }) };
      };
      this.#queue.push({ run, reject });
      this.#flushing ??= this.#flush();
    });
  }

  /** Calls `listener` after each group that changed the state, with its changes. @returns how to stop that. */
  onChange(listener: Listener<State, Change>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Writes what was queued before, then gives the directory up. May be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  async #finish(): Promise<void> {
    await this.#flushing;
    try {
      await this.#journal.close();
    } finally {
      await this.#deps.directory.close();
    }
  }

  async #flush(): Promise<void> {
    // Those who write in the same turn share a group.
    await setImmediate();
    while (this.#queue.length > 0) {
      await this.#commit(this.#queue.splice(0, maxGroup));
      await this.#journal.compactIfGrown(this.#current);
    }
    this.#flushing = undefined;
  }

  async #commit(group: readonly Transaction<State, Change>[]): Promise<void> {
    const before = this.#current;
    let after = before;
    const changes: Change[] = [];
    const settled: (() => void)[] = [];
    const { codec } = this.#deps;
    const pending: { readonly settle: () => void; readonly reject: (error: Error) => void }[] = [];
    for (const transaction of group) {
      const outcome = runAlone(transaction, after);
      // A set of thousands takes as long to be put into the state as it took to be decided on: others have a turn between.
      if (outcome.changes.length > manyChanges) await setImmediate();
      try {
        if (outcome.changes.length > 0) after = codec.reduce(after, outcome.changes);
      } catch (error) {
        transaction.reject(error);
        continue;
      }
      for (const change of outcome.changes) changes.push(change);
      const state = after;
      const settle = () => outcome.settle(state);
      if (changes.length === 0) settled.push(settle);
      else pending.push({ settle, reject: transaction.reject });
    }
    // They saw nothing but what is durable.
    for (const settle of settled) settle();
    if (pending.length === 0) return;

    await setImmediate();
    try {
      await this.#journal.append(changes, before, after);
    } catch (cause) {
      const failure = unavailable(messageOf(cause), cause);
      this.#report(failure);
      for (const { reject } of pending) reject(failure);
      return;
    }
    this.#report(undefined);
    this.#current = after;
    for (const { settle } of pending) settle();
    this.#notify(changes);
  }

  #notify(changes: readonly Change[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(this.#current, changes);
      } catch (err) {
        this.#deps.log.error({ err }, "a listener of the store threw");
      }
    }
  }

  /** One line where writes begin to fail, one where they succeed again. */
  #report(failure: GatewayError | undefined): void {
    if (failure && !this.#failure) this.#deps.log.error({ err: failure }, "state cannot be stored");
    if (!failure && this.#failure) this.#deps.log.info({}, "state can be stored again");
    this.#failure = failure;
  }
}

interface Transaction<State, Change> {
  readonly run: (before: State) => Outcome<State, Change>;
  readonly reject: (error: unknown) => void;
}

interface Outcome<State, Change> {
  readonly changes: readonly Change[];
  /** Told the state right after the changes. */
  readonly settle: (after: State) => void;
}

/** A decision that throws changes nothing and concerns its own caller only. */
function runAlone<State, Change>(
  { run, reject }: Transaction<State, Change>,
  before: State,
): Outcome<State, Change> {
  try {
    return run(before);
  } catch (error) {
    return { changes: [], settle: () => reject(error) };
  }
}

/** A refusal of the store's own says why it is one; what the disk says is for the log. */
function messageOf(cause: unknown): string {
  return cause instanceof GatewayError
    ? `the write could not be stored: ${cause.message}`
    : "the write could not be stored";
}

function unavailable(message: string, cause?: unknown): GatewayError {
  return new GatewayError("storage-unavailable", message, { cause });
}
