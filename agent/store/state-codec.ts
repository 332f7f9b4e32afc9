/** Binds the journal to the gateway's state: {@link State} and its changes to and from the journal's JSON. */

import { Type } from "typebox";
import { Compile } from "typebox/compile";
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import { type LedgerAddress, ledgerKey } from "../../lib/model/ledger.ts";
import type { InterfaceName, ObjectName } from "../../lib/model/names.ts";
import type { Stored } from "../../lib/model/stored.ts";
import { emptyState, reduce, type State, type StateChange } from "../../lib/state/state.ts";
import { type Codec, SchemaError } from "./codec.ts";
import { type RecordedChange, RecordedChangeSchema, type Snapshot, SnapshotSchema } from "./state-schema.ts";

/** Compiles its validators: make one and keep it. */
export function stateCodec(): Codec<State, StateChange> {
  const snapshots = Compile(SnapshotSchema);
  const changeLists = Compile(Type.Array(RecordedChangeSchema));
  return {
    empty: emptyState,
    reduce,
    encodeState: snapshotOf,
    encodeChanges: record,
    decodeState: (value) => stateOf(checked(snapshots, value, "snapshot")),
    decodeChanges: (value) => checked(changeLists, value, "changes").flatMap(replay),
  };
}

function snapshotOf(state: State): Snapshot {
  const { desired, ledger } = state;
  return {
    isSet: state.isSet,
    revision: desired.revision,
    generation: desired.generation,
    ...(state.lastFullSet && { lastFullSet: { ...state.lastFullSet } }),
    nextCreation: state.nextCreation,
    gateway: desired.gateway,
    eips: [...desired.eips.values()],
    fips: [...desired.fips.values()],
    snats: [...desired.snats.values()],
    dnats: [...desired.dnats.values()],
    // An agent from before there were Limits reads the rest.
    ...(desired.limits.size > 0 && { limits: [...desired.limits.values()] }),
    routes: [...desired.routes.values()],
    tombstones: Array.from(state.tombstones, ([key, untilMs]) => ({ key, untilMs })),
    leases: Array.from(state.leases, ([name, renewed]) => ({ name, renewed })),
    ledger: {
      epoch: ledger.epoch,
      addresses: [...ledger.addresses.keys()],
      retired: [...ledger.retired],
    },
  };
}

function stateOf(snapshot: Snapshot): State {
  const { ledger } = snapshot;
  return {
    isSet: snapshot.isSet,
    lastFullSet: snapshot.lastFullSet,
    nextCreation: snapshot.nextCreation,
    desired: {
      revision: snapshot.revision,
      generation: snapshot.generation,
      gateway: snapshot.gateway,
      eips: byName(snapshot.eips),
      fips: byName(snapshot.fips),
      snats: byName(snapshot.snats),
      dnats: byName(snapshot.dnats),
      limits: byName(snapshot.limits ?? []),
      routes: byName(snapshot.routes),
    },
    tombstones: new Map(snapshot.tombstones.map(({ key, untilMs }) => [key, untilMs])),
    leases: new Map(snapshot.leases.map(({ name, renewed }) => [name, renewed])),
    ledger: {
      epoch: ledger.epoch,
      addresses: new Map(ledger.addresses.map((key) => [key, parseLedgerKey(key)])),
      retired: new Set(ledger.retired),
    },
  };
}

/** What the journal holds of a run of like ledger changes: thousands of addresses are one entry of keys. */
type LedgerRun = Extract<RecordedChange, { entries: unknown } | { addresses: unknown }>;
type OtherChange = Exclude<StateChange, { type: LedgerRun["type"] }>;

function record(changes: readonly StateChange[]): readonly (OtherChange | LedgerRun)[] {
  const recorded: (OtherChange | LedgerRun)[] = [];
  for (const change of changes) {
    const last = recorded.at(-1);
    switch (change.type) {
      case "ledger-add":
      case "ledger-remove": {
        const key = ledgerKey(change.entry);
        if (last?.type === change.type) last.entries.push(key);
        else recorded.push({ type: change.type, entries: [key] });
        break;
      }
      case "retire":
      case "unretire":
        if (last?.type === change.type) last.addresses.push(change.address);
        else recorded.push({ type: change.type, addresses: [change.address] });
        break;
      default:
        recorded.push(change);
    }
  }
  return recorded;
}

function replay(recorded: RecordedChange): readonly StateChange[] {
  switch (recorded.type) {
    case "ledger-add":
    case "ledger-remove": {
      const { type } = recorded;
      return recorded.entries.map((key) => ({ type, entry: parseLedgerKey(key) }));
    }
    case "retire":
    case "unretire": {
      const { type } = recorded;
      return recorded.addresses.map((address) => ({ type, address }));
    }
    default:
      return [recorded];
  }
}

/** The part of a compiled validator that is needed here. */
interface Checker<T> {
  Check(value: unknown): value is T;
  Errors(value: unknown): readonly { readonly instancePath: string; readonly message: string }[];
}

function checked<T>(schema: Checker<T>, value: unknown, what: string): T {
  if (schema.Check(value)) return value;
  const [first] = schema.Errors(value);
  throw new SchemaError(`${what} not of the schema: ${first?.instancePath} ${first?.message}`);
}

function byName<S extends { readonly name: ObjectName }>(
  objects: readonly Stored<S>[],
): ReadonlyMap<ObjectName, Stored<S>> {
  return new Map(objects.map((object) => [object.spec.name, object]));
}

/** Takes a key apart that the schema let pass. */
function parseLedgerKey(key: string): LedgerAddress {
  const space = key.indexOf(" ");
  const slash = key.indexOf("/", space);
  return {
    interface: key.slice(0, space) as InterfaceName,
    address: key.slice(space + 1, slash) as Ipv4,
    prefixLength: Number(key.slice(slash + 1)),
  };
}
