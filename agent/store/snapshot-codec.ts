/** Encodes a whole state as snapshot JSON and decodes it. */

import { type Chunked, mapChunked } from "../../lib/chunked.ts";
import type { Spec } from "../../lib/kinds/registry.ts";
import type { Stored } from "../../lib/model/stored.ts";
import { OrderedMap } from "../../lib/ordered-map.ts";
import { OrderedSet } from "../../lib/ordered-set.ts";
import { type Desired, objectsOf } from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";
import { type JsonObject, type RecordPlace, recordKey } from "../../lib/state/unrecognized.ts";
import { SchemaError } from "./codec.ts";
import { isJsonObject } from "./json.ts";
import { parseLedgerKey } from "./ledger-key.ts";
import type { RecordReader } from "./record-reader.ts";
import type { StateReaders } from "./state-readers.ts";

/** Takes a few milliseconds. */
const encodedAtOnce = 4_000;

/** In parts. */
export function* encodeSnapshot(state: State, readers: StateReaders): Chunked<JsonObject> {
  const { desired, ledger, unrecognized } = state;
  const { records } = unrecognized;
  const whole = <T>(record: T, place: RecordPlace, key?: string): T | JsonObject =>
    records.size === 0 ? record : (records.get(recordKey(place, key)) ?? record);
  const collections: (readonly [string, readonly unknown[]])[] = [];
  for (const { kind, collection } of readers.objects.values()) {
    const objects: ReadonlyMap<string, Stored<Spec>> = objectsOf(desired, kind);
    const records = yield* mapChunked(objects, encodedAtOnce, ([name, object]) =>
      whole(object, `objects/${collection}`, name),
    );
    collections.push([collection, records]);
  }
  return {
    isSet: state.isSet,
    revision: desired.revision,
    generation: desired.generation,
    ...(state.lastFullSet && { lastFullSet: whole(state.lastFullSet, "lastFullSet") }),
    nextCreation: state.nextCreation,
    gateway: whole(desired.gateway, "gateway"),
    objects: { ...Object.fromEntries(collections), ...unrecognized.collections },
    tombstones: yield* mapChunked(state.tombstones, encodedAtOnce, ([key, untilMs]) =>
      whole({ key, untilMs }, "tombstones", key),
    ),
    leases: yield* mapChunked(state.leases, encodedAtOnce, ([name, renewed]) =>
      whole({ name, renewed }, "leases", name),
    ),
    ledger: {
      epoch: ledger.epoch,
      addresses: yield* mapChunked(ledger.addresses.keys(), encodedAtOnce, (key) => key),
      retired: [...ledger.retired],
      ...unrecognized.ledger,
    },
    ...unrecognized.members,
    ...(unrecognized.changes.length > 0 && { unrecognized: unrecognized.changes }),
  };
}

/**
 * Decodes a snapshot of the current format. Also returns the changes that the version which wrote it kept without
 * knowing them; the caller has to apply them. Throws {@link SchemaError}.
 */
export function decodeSnapshot(
  snapshot: JsonObject,
  readers: StateReaders,
): { readonly state: State; readonly changes: unknown } {
  const { isSet, revision, generation, nextCreation, lastFullSet, gateway, ...collected } = snapshot;
  const { objects, tombstones, leases, ledger, unrecognized: changes = [], ...members } = collected;
  if (!isJsonObject(objects) || !isJsonObject(ledger))
    throw new SchemaError("the snapshot lacks required members");
  const { epoch, addresses, retired, ...ledgerMembers } = ledger;

  const head = readers.head.read({ isSet, revision, generation, nextCreation }).known;
  const knownLedger = readers.ledger.read({ epoch, addresses, retired }).known;
  const records = new Records();
  const collections: Record<string, unknown> = { ...objects };
  const desired: Record<string, unknown> = {
    revision: head.revision,
    generation: head.generation,
    gateway: records.one(readers.gateway, gateway, "gateway"),
  };
  for (const { collection, reader } of readers.objects.values()) {
    delete collections[collection];
    const list = records.all(
      reader,
      Object.hasOwn(objects, collection) ? objects[collection] : [],
      `objects/${collection}`,
      ({ spec }) => spec.name,
    );
    desired[collection] = OrderedMap.from(list.map((object) => [object.spec.name, object]));
  }
  const keyedTombstones = records.all(readers.tombstones, tombstones, "tombstones", ({ key }) => key);
  const keyedLeases = records.all(readers.leases, leases, "leases", ({ name }) => name);
  const state: State = {
    isSet: head.isSet,
    lastFullSet:
      lastFullSet === undefined ? undefined : records.one(readers.lastFullSet, lastFullSet, "lastFullSet"),
    nextCreation: head.nextCreation,
    desired: desired as unknown as Desired,
    tombstones: OrderedMap.from(keyedTombstones.map(({ key, untilMs }) => [key, untilMs])),
    leases: OrderedMap.from(keyedLeases.map(({ name, renewed }) => [name, renewed])),
    ledger: {
      epoch: knownLedger.epoch,
      addresses: OrderedMap.from(knownLedger.addresses.map((key) => [key, parseLedgerKey(key)])),
      retired: OrderedSet.from(knownLedger.retired),
    },
    unrecognized: { members, collections, ledger: ledgerMembers, records: records.finish(), changes: [] },
  };
  return { state, changes };
}

/** Reads records and collects those with unknown fields. */
class Records {
  readonly #whole = OrderedMap.from<string, JsonObject>([]).edit();

  one<T>(reader: RecordReader<T>, value: unknown, place: RecordPlace): T {
    return this.#read(reader, value, place);
  }

  all<T>(
    reader: RecordReader<T>,
    list: unknown,
    place: RecordPlace,
    keyOf: (record: T) => string,
  ): readonly T[] {
    if (!Array.isArray(list)) throw new SchemaError(`${place} of the snapshot is not an array`);
    return list.map((value: unknown) => this.#read(reader, value, place, keyOf));
  }

  finish(): OrderedMap<string, JsonObject> {
    return this.#whole.finish();
  }

  #read<T>(reader: RecordReader<T>, value: unknown, place: RecordPlace, keyOf?: (record: T) => string): T {
    const { known, whole } = reader.read(value);
    if (whole !== undefined) this.#whole.set(recordKey(place, keyOf?.(known)), whole);
    return known;
  }
}
