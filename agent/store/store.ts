/**
 * The durable state, with group commit.
 *
 * INVARIANTS
 * 1. `current` is durable: nobody sees a state that a crash can undo.
 * 2. Every answer, also a refusal, is based on a state that is durable when the answer is given.
 * 3. A group is one line of the journal: after a crash it is there completely or not at all.
 */
import { setImmediate } from "node:timers/promises";
import { type Chunked, inParts, type MaybeChunked } from "../../lib/chunked.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import { runYielding } from "../run-yielding.ts";
import type { Codec } from "./codec.ts";
import { Journal, type JournalDeps } from "./journal.ts";
import { type Recovery, recover } from "./recovery.ts";

/** Decides on the newest state. Returns changes that become durable together, and the caller's result. */
export type Decide<State, Change, T> = (
  state: State,
) => MaybeChunked<{ readonly changes: readonly Change[]; readonly result: T }>;

export type Listener<State, Change> = (state: State, changes: readonly Change[]) => void;

/** Transactions per group. A group of small ones runs in one turn of the event loop, which must stay short; large ones yield. */
const maxGroup = 128;
/** Changes that are reduced in one turn of the event loop. Takes a few milliseconds. */
const reducedAtOnce = 1_000;
/** Waiting transactions. The limit stops the queue from growing while the disk hangs. */
const maxQueue = 4096;

/**
 * Recovers the state from `directory`. The store closes the directory in the end. Throws if the state cannot be read.
 */
export async function startStore<State, Change>(
  deps: JournalDeps<State, Change>,
): Promise<Store<State, Change>> {
  const recovered = await recover(deps.directory, deps.codec, deps.now, deps.log);
  return new Store(deps, new Journal(deps, recovered), recovered.state, recovered.recovery);
}

export class Store<State, Change> {
  /** How the state was found at start. */
  readonly recovery: Recovery;
  readonly #deps: JournalDeps<State, Change>;
  readonly #journal: Journal<State, Change>;
  readonly #listeners = new Set<Listener<State, Change>>();
  readonly #queue: Transaction<State, Change>[] = [];
  #current: State;
  #failure: GatewayError | undefined;
  #flushing: Promise<void> | undefined;
  #closing: Promise<void> | undefined;
  #isCheckDue = false;

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

  /** Why the last write failed. `undefined` if it succeeded. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /**
   * Runs `decide` alone on the newest state. Resolves when its changes are durable, with the state right after them.
   * Rejects with what `decide` throws. Rejects with `storage-unavailable` if the disk refuses or the store is closed.
   */
  transact<T>(decide: Decide<State, Change, T>): Promise<{ readonly state: State; readonly result: T }> {
    if (this.#closing !== undefined) return Promise.reject(unavailable("the store is closed"));
    if (this.#queue.length >= maxQueue)
      return Promise.reject(unavailable(`the disk is too slow: ${maxQueue} writes are waiting`));
    return new Promise((resolve, reject) => {
      const run = function* (before: State): Chunked<Outcome<State, Change>> {
        const { changes, result } = yield* inParts(decide(before));
        return { changes, settle: (after) => resolve({ state: after, result }) };
      };
      this.#queue.push({ run, reject });
      this.#flushing ??= this.#flush();
    });
  }

  /**
   * Calls `listener` after each group that changed the state, with the group's changes.
   * @returns a function that removes the listener
   */
  onChange(listener: Listener<State, Change>): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Checks that the journal is still in place, and writes it again if another program moved, changed or removed it.
   * Call it from time to time: a write also checks, but an idle agent may not write for days. Never rejects.
   */
  async check(): Promise<void> {
    if (this.#closing !== undefined) return;
    this.#isCheckDue = true;
    this.#flushing ??= this.#flush();
    await this.#flushing;
  }

  /** Writes what is queued, then releases the directory. Can be called twice. */
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
    // Writes of the same turn share a group.
    await setImmediate();
    while (this.#queue.length > 0 || this.#isCheckDue) {
      if (this.#isCheckDue) await this.#repair();
      if (this.#queue.length === 0) continue;
      await this.#commit(this.#queue.splice(0, maxGroup));
      await this.#journal.compactIfGrown(this.#current);
    }
    this.#flushing = undefined;
  }

  async #repair(): Promise<void> {
    this.#isCheckDue = false;
    try {
      if (await this.#journal.repair(this.#current)) this.#report(undefined);
    } catch (cause) {
      this.#report(unavailable(messageOf(cause), cause));
    }
  }

  async #commit(group: readonly Transaction<State, Change>[]): Promise<void> {
    const before = this.#current;
    let after = before;
    const changes: Change[] = [];
    const settled: (() => void)[] = [];
    const { codec } = this.#deps;
    const pending: { readonly settle: () => void; readonly reject: (error: Error) => void }[] = [];
    for (const transaction of group) {
      const outcome = await runAlone(transaction, after);
      try {
        after = await runYielding(reduceChunked(codec, after, outcome.changes));
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
    // These results are based on durable state only, so they need not wait for the disk.
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
        this.#deps.log.error({ err }, "internal error in a state listener");
      }
    }
  }

  /** Logs one line when writes begin to fail and one when they succeed again. */
  #report(failure: GatewayError | undefined): void {
    if (failure && !this.#failure) this.#deps.log.error({ err: failure }, "cannot store the state");
    if (!failure && this.#failure) this.#deps.log.info({}, "state writes work again");
    this.#failure = failure;
  }
}

interface Transaction<State, Change> {
  readonly run: (before: State) => Chunked<Outcome<State, Change>>;
  readonly reject: (error: unknown) => void;
}

interface Outcome<State, Change> {
  readonly changes: readonly Change[];
  /** Called with the state right after the changes. */
  readonly settle: (after: State) => void;
}

/** A decision that throws changes nothing and fails only for its own caller. */
async function runAlone<State, Change>(
  { run, reject }: Transaction<State, Change>,
  before: State,
): Promise<Outcome<State, Change>> {
  try {
    return await runYielding(run(before));
  } catch (error) {
    return { changes: [], settle: () => reject(error) };
  }
}

/** The state after `changes`, some at a time: reducing thousands takes as long as deciding on them. */
function* reduceChunked<State, Change>(
  codec: Codec<State, Change>,
  before: State,
  changes: readonly Change[],
): Chunked<State> {
  if (changes.length === 0) return before;
  if (changes.length <= reducedAtOnce) return codec.reduce(before, changes);
  let state = before;
  for (let from = 0; from < changes.length; from += reducedAtOnce) {
    yield;
    state = codec.reduce(state, changes.slice(from, from + reducedAtOnce));
  }
  return state;
}

/** The store's own refusals say their reason. Errors of the disk go to the log only. */
function messageOf(cause: unknown): string {
  return cause instanceof GatewayError
    ? `the write could not be stored: ${cause.message}`
    : "the write could not be stored";
}

function unavailable(message: string, cause?: unknown): GatewayError {
  return new GatewayError("storage-unavailable", message, { cause });
}
