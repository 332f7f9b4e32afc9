/** A reader for each type of record in the stored state and its changes. */

import type { Static, TObject, TSchema } from "typebox";
import type { Spec } from "../../lib/kinds/registry.ts";
import { collectionOf, type Kind } from "../../lib/model/names.ts";
import { GatewaySchema } from "../../lib/model/schema.ts";
import type { Stored } from "../../lib/model/stored.ts";
import { RecordReader } from "./record-reader.ts";
import {
  ChangeSchemas,
  FullSetMarkSchema,
  HeadSchema,
  LeaseSchema,
  LedgerSchema,
  putSchema,
  type RecordedChange,
  storedSchema,
  TombstoneSchema,
} from "./state-schema.ts";

export type SpecSchemas = Readonly<Record<Kind, TObject>>;
export type StateReaders = ReturnType<typeof stateReaders>;

export function stateReaders(specs: SpecSchemas) {
  const objects = new Map<string, ObjectsReader>();
  const changes = new Map<string, RecordReader<RecordedChange>>();
  for (const kind of kindsOf(specs)) {
    const collection = collectionOf(kind);
    const reader = new RecordReader<Stored<Spec>>(storedSchema(specs[kind]), `an object of ${collection}`);
    objects.set(kind, { kind, collection, reader });
    changes.set(
      changeKey("put", kind),
      new RecordReader(putSchema(kind, specs[kind]), `a put of ${collection}`),
    );
  }
  for (const [type, schema] of Object.entries(ChangeSchemas))
    changes.set(type, new RecordReader<RecordedChange>(schema, `a change ${type}`));
  return {
    /** By kind, in the order of the registry. */
    objects,
    /** By {@link changeKey}. */
    changes,
    head: readerOf(HeadSchema, "the snapshot"),
    gateway: readerOf(GatewaySchema, "the gateway"),
    lastFullSet: readerOf(FullSetMarkSchema, "the record of the last full set"),
    tombstones: readerOf(TombstoneSchema, "a tombstone"),
    leases: readerOf(LeaseSchema, "a lease"),
    ledger: readerOf(LedgerSchema, "the ledger"),
  };
}

/** The key of a change's reader. `put` has one reader per kind. */
export function changeKey(type: string, kind: unknown): string {
  return type === "put" ? `put ${kind}` : type;
}

export interface ObjectsReader {
  readonly kind: Kind;
  readonly collection: ReturnType<typeof collectionOf>;
  readonly reader: RecordReader<Stored<Spec>>;
}

function kindsOf(specs: SpecSchemas): readonly Kind[] {
  return Object.keys(specs) as Kind[];
}

function readerOf<S extends TSchema>(schema: S, what: string): RecordReader<Static<S>> {
  return new RecordReader<Static<S>>(schema, what);
}
