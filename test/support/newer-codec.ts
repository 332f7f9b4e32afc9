/**
 * The state as a future version might store it: one more kind `quota`, a field `pooled` of Eips, a member `usage` with
 * its own change, and a member `classes` of the ledger with its own change.
 */

import { Type } from "typebox";
import type { Codec } from "../../agent/store/codec.ts";
import { stateCodec } from "../../agent/store/state-codec.ts";
import { specSchemas } from "../../lib/kinds/registry.ts";
import { OrderedMap } from "../../lib/ordered-map.ts";
import { reduce } from "../../lib/state/reduce.ts";
import type { State, StateChange } from "../../lib/state/state.ts";
import type { JsonObject } from "../../lib/state/unrecognized.ts";

export interface NewerState {
  readonly state: State;
  /** Bytes per Eip. */
  readonly usage: Readonly<Record<string, number>>;
  readonly classes: readonly string[];
}

export type NewerChange =
  | StateChange
  | { readonly type: "usage"; readonly eip: string; readonly bytes: number }
  | { readonly type: "ledger-class"; readonly class: string };

const closed = { additionalProperties: false } as const;
const quota = Type.Object(
  { name: Type.String(), uid: Type.Optional(Type.String()), eip: Type.String(), bytes: Type.Number() },
  closed,
);
const eip = Type.Object({ ...specSchemas.eip.properties, pooled: Type.Optional(Type.Boolean()) }, closed);

export function newerCodec(): Codec<NewerState, NewerChange> {
  const known = stateCodec({ ...specSchemas, eip, quota } as typeof specSchemas);
  const { empty } = known;
  return {
    empty: {
      state: { ...empty, desired: { ...empty.desired, ...{ quotas: OrderedMap.from([]) } } },
      usage: {},
      classes: [],
    },
    format: known.format,
    reduce: apply,
    encodeState({ state, usage, classes }) {
      const snapshot = known.encodeState(state) as JsonObject & { readonly ledger: JsonObject };
      return { ...snapshot, usage, ledger: { ...snapshot.ledger, classes } };
    },
    encodeChanges: (changes) =>
      changes.flatMap((change): readonly unknown[] =>
        change.type === "usage" || change.type === "ledger-class" ? [change] : known.encodeChanges([change]),
      ),
    decodeState(value, format) {
      const state = known.decodeState(value, format);
      const { members, ledger, changes } = state.unrecognized;
      const { usage = {}, ...otherMembers } = members;
      const { classes = [], ...otherLedger } = ledger;
      const rest = { ...state.unrecognized, members: otherMembers, ledger: otherLedger, changes: [] };
      const base = { state: { ...state, unrecognized: rest }, usage, classes } as NewerState;
      return apply(
        base,
        changes.map((change) => understood({ type: "unrecognized", change })),
      );
    },
    decodeChanges: (value) => known.decodeChanges(value).map(understood),
    unrecognized: ({ state }) => known.unrecognized(state),
  };
}

function apply(before: NewerState, changes: readonly NewerChange[]): NewerState {
  let { state, usage, classes } = before;
  for (const change of changes) {
    if (change.type === "usage") usage = { ...usage, [change.eip]: change.bytes };
    else if (change.type === "ledger-class") classes = [...classes, change.class];
    else state = reduce(state, [change]);
    if (change.type === "ledger-epoch") classes = [];
  }
  return { state, usage, classes };
}

function understood(change: StateChange): NewerChange {
  if (change.type !== "unrecognized") return change;
  const { type } = change.change;
  return type === "usage" || type === "ledger-class" ? (change.change as unknown as NewerChange) : change;
}
