/** The gateway's durable state: one journal in the state directory, used by one agent at a time. */

import { GatewayError } from "../../lib/model/errors.ts";
import type { State, StateChange } from "../../lib/state/state.ts";
import type { Log } from "../log.ts";
import { openStateDirectory } from "./directory.ts";
import { stateCodec } from "./state-codec.ts";
import { type Store, startStore } from "./store.ts";

export interface StoreOptions {
  /** The state directory. Created if it is missing. */
  readonly directory: string;
  /** Wall clock in ms. */
  readonly now: () => number;
  readonly log: Pick<Log, "info" | "warn" | "error">;
}

export type StateStore = Store<State, StateChange>;

/**
 * Opens the journal and reads it. A damaged journal is not an error: it is reported in {@link StateStore.recovery}.
 * Throws `already-running` if another agent holds the directory, `storage-unavailable` if the journal cannot be read.
 */
export async function openStore({ directory: path, now, log }: StoreOptions): Promise<StateStore> {
  try {
    const directory = await openStateDirectory(path);
    try {
      const store = await startStore({ directory, codec: stateCodec(), now, log });
      const { recovery } = store;
      if (recovery.recovered === "torn")
        log.warn({ recovery }, "removed an unfinished write from the end of the journal");
      if (recovery.recovered === "corrupt")
        log.error({ recovery }, "the journal is corrupt: the state is unset");
      if (recovery.recovered === "too-new")
        log.error({ recovery }, "a newer version wrote the journal: the state is unset, writes are refused");
      if (recovery.unrecognized !== undefined)
        log.warn({ recovery }, "a newer version wrote part of the state: it is kept and has no effect");
      return store;
    } catch (error) {
      await directory.close();
      throw error;
    }
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError(
      "storage-unavailable",
      `NATGW_STATE_DIR: cannot open the state directory ${path}: ${why}`,
      { cause },
    );
  }
}
