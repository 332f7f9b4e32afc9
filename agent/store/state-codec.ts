/** Binds the journal to the gateway's state: encodes {@link State} and its changes as JSON. */

import { runSync } from "../../lib/chunked.ts";
import { specSchemas } from "../../lib/kinds/registry.ts";
import { reduce } from "../../lib/state/reduce.ts";
import { emptyState, type State, type StateChange } from "../../lib/state/state.ts";
import { decodeChanges, encodeChanges } from "./change-codec.ts";
import { type Codec, SchemaError } from "./codec.ts";
import { isJsonObject } from "./json.ts";
import { currentFormat, migrate } from "./migrations.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot-codec.ts";
import { type SpecSchemas, stateReaders } from "./state-readers.ts";
import { unrecognizedParts } from "./unrecognized-parts.ts";

/** Compiles its validators, which is slow: create one codec and keep it. */
export function stateCodec(specs: SpecSchemas = specSchemas): Codec<State, StateChange> {
  const readers = stateReaders(specs);
  return {
    empty: emptyState,
    format: currentFormat,
    reduce,
    encodeState: (state) => runSync(encodeSnapshot(state, readers)),
    encodeStateChunked: (state) => encodeSnapshot(state, readers),
    encodeChanges,
    decodeState(value, format) {
      if (!isJsonObject(value)) throw new SchemaError("the snapshot is not an object");
      const { state, changes } = decodeSnapshot(migrate(value, format), readers);
      // The version that wrote the snapshot did not know these changes. This version may know them.
      return reduce(state, decodeChanges(changes, readers));
    },
    decodeChanges: (value) => decodeChanges(value, readers),
    unrecognized: ({ unrecognized }) => unrecognizedParts(unrecognized, readers),
  };
}
