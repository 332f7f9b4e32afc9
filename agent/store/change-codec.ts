/**
 * Encodes state changes as journal JSON and decodes them. Consecutive ledger changes of one type become one JSON
 * change: a run can have thousands.
 */

import { assertNever } from "../../lib/assert-never.ts";
import { ledgerKey } from "../../lib/model/ledger.ts";
import type { StateChange } from "../../lib/state/state.ts";
import type { JsonObject } from "../../lib/state/unrecognized.ts";
import { SchemaError } from "./codec.ts";
import { isJsonObject } from "./json.ts";
import { parseLedgerKey } from "./ledger-key.ts";
import { changeKey, type StateReaders } from "./state-readers.ts";
import type { RecordedChange } from "./state-schema.ts";

/** Consecutive ledger changes of one type, as the journal stores them. */
type LedgerRun =
  | { readonly type: "ledger-add" | "ledger-remove"; readonly entries: string[] }
  | { readonly type: "retire" | "unretire"; readonly addresses: string[] };

export function encodeChanges(changes: readonly StateChange[]): readonly unknown[] {
  const encoded: unknown[] = [];
  let run: LedgerRun | undefined;
  for (const change of changes) {
    switch (change.type) {
      case "ledger-add":
      case "ledger-remove":
        if (run?.type === change.type) {
          run.entries.push(ledgerKey(change.entry));
        } else {
          run = { type: change.type, entries: [ledgerKey(change.entry)] };
          encoded.push(run);
        }
        break;
      case "retire":
      case "unretire":
        if (run?.type === change.type) {
          run.addresses.push(change.address);
        } else {
          run = { type: change.type, addresses: [change.address] };
          encoded.push(run);
        }
        break;
      default:
        run = undefined;
        encoded.push(encodeChange(change));
    }
  }
  return encoded;
}

function encodeChange(change: Exclude<StateChange, { type: LedgerRun["type"] }>): unknown {
  switch (change.type) {
    case "unrecognized":
      return change.change;
    case "put":
      return { type: change.type, kind: change.kind, object: change.whole ?? change.object };
    case "gateway":
      return { type: change.type, gateway: change.whole ?? change.gateway };
    case "full-set":
    case "tombstone":
    case "lease": {
      const { type, whole, ...record } = change;
      return { type, ...(whole ?? record) };
    }
    case "delete":
    case "revision":
    case "forget-tombstone":
    case "evict-tombstone":
    case "ledger-epoch":
      return change;
    default:
      return assertNever(change);
  }
}

/** Throws a {@link SchemaError}. */
export function decodeChanges(changes: unknown, readers: StateReaders): readonly StateChange[] {
  if (!Array.isArray(changes)) throw new SchemaError("changes are not an array");
  const decoded: StateChange[] = [];
  for (const change of changes) for (const each of decodeChange(change, readers)) decoded.push(each);
  return decoded;
}

function decodeChange(change: unknown, readers: StateReaders): readonly StateChange[] {
  if (!isJsonObject(change) || typeof change.type !== "string") throw new SchemaError("a change has no type");
  const { type, kind } = change;
  const isOfKind = type === "put" || type === "delete";
  if (isOfKind && typeof kind !== "string") throw new SchemaError(`a ${type} has no kind`);
  const reader = readers.changes.get(changeKey(type, kind));
  if (reader === undefined || (isOfKind && !readers.objects.has(String(kind)))) return [unrecognized(change)];
  const { known, whole } = reader.read(change);
  return whole === undefined ? replay(known) : withUnknown(known, whole, reader.unknownFields(whole));
}

/** A change of an unknown type or kind. It still reserves the creation number that it gives to its object. */
function unrecognized(change: JsonObject): StateChange {
  const creation = isJsonObject(change.object) ? change.object.creation : undefined;
  if (typeof creation !== "number" || !Number.isSafeInteger(creation))
    return { type: "unrecognized", change };
  return { type: "unrecognized", change, creation };
}

/**
 * A change of a known type with unknown fields. Unknown fields of a record are kept with the record. All others would
 * be lost when the change is applied, so the whole change is also kept, marked as `partly-applied`.
 */
function withUnknown(
  known: RecordedChange,
  change: JsonObject,
  unknownFields: readonly string[],
): readonly StateChange[] {
  const partlyApplied: StateChange = { type: "unrecognized", change: { type: "partly-applied", change } };
  const isWithin = (member: string) => (path: string) => path.startsWith(`.${member}.`);
  switch (known.type) {
    case "put":
    case "gateway": {
      const member = known.type === "put" ? "object" : "gateway";
      const record = change[member];
      const isRecord = unknownFields.some(isWithin(member)) && isJsonObject(record);
      const isAll = unknownFields.every(isWithin(member));
      return [{ ...known, ...(isRecord && { whole: record }) }, ...(isAll ? [] : [partlyApplied])];
    }
    case "full-set":
    case "tombstone":
    case "lease": {
      const { type: _, ...whole } = change;
      return [{ ...known, whole }];
    }
    default:
      return [...replay(known), partlyApplied];
  }
}

function replay(change: RecordedChange): readonly StateChange[] {
  switch (change.type) {
    case "ledger-add":
    case "ledger-remove": {
      const { type, entries } = change;
      return entries.map((key) => ({ type, entry: parseLedgerKey(key) }));
    }
    case "retire":
    case "unretire": {
      const { type, addresses } = change;
      return addresses.map((address) => ({ type, address }));
    }
    default:
      return [change];
  }
}
