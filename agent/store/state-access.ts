/** The durable state as the rest of the agent uses it. */
import type { MaybeChunked } from "../../lib/chunked.ts";
import type { State, StateChange } from "../../lib/state/state.ts";

/** The durable state: one writer, group commit. */
export interface StateAccess {
  /** The last durable state. Immutable. */
  readonly current: State;
  /**
   * Runs `decide` alone on the newest state and resolves when its changes are durable. All changes of one call become
   * durable together. `decide` is pure; with thousands of objects it yields between its parts, and no other write is
   * decided meanwhile. If it throws, nothing is written and the error is rethrown
   * here. Throws `storage-unavailable` if the disk refuses; nothing is written then either.
   */
  transact<T>(
    decide: (state: State) => MaybeChunked<{ readonly changes: readonly StateChange[]; readonly result: T }>,
  ): Promise<{ readonly state: State; readonly result: T }>;
}
