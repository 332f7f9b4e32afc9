/** The durable state as the rest of the agent uses it. */
import type { State, StateChange } from "../../lib/state/state.ts";

/** The durable state: one writer, group commit. */
export interface StateAccess {
  /** The last durable state; immutable. */
  readonly current: State;
  /**
   * Runs `decide` on the newest state, alone, and makes its changes durable before it resolves. Changes that
   * belong together are durable together. `decide` is synchronous and pure; what it throws is thrown here and
   * nothing is written. Throws `storage-unavailable` where the disk refused: then nothing was written either.
   */
  transact<T>(
    decide: (state: State) => { readonly changes: readonly StateChange[]; readonly result: T },
  ): Promise<{ readonly state: State; readonly result: T }>;
}
