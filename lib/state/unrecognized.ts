/**
 * What a newer version of the agent stored and this version does not know. It has no effect, is stored again unchanged,
 * and takes effect when a version that knows it reads the state.
 */
import { OrderedMap, type OrderedMapDraft } from "../ordered-map.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export interface Unrecognized {
  /** Members of the stored state, by name. */
  readonly members: JsonObject;
  /** Collections of objects of unknown kinds, by name. */
  readonly collections: JsonObject;
  /** Members of the ledger, by name. Like the rest of the ledger they are dropped when its epoch ends. */
  readonly ledger: JsonObject;
  /**
   * Complete records with unknown fields (objects, tombstones ...), by {@link recordKey}. Their known fields take
   * effect. A write that replaces or removes the record also drops the unknown fields.
   */
  readonly records: OrderedMap<string, JsonObject>;
  /** Unknown changes, in order. */
  readonly changes: readonly JsonObject[];
}

export const nothingUnrecognized: Unrecognized = {
  members: {},
  collections: {},
  ledger: {},
  records: OrderedMap.from([]),
  changes: [],
};

/** True if everything stored is known. */
export function isAllRecognized({ members, collections, ledger, records, changes }: Unrecognized): boolean {
  const isEmpty = (object: JsonObject) => Object.keys(object).length === 0;
  return (
    isEmpty(members) && isEmpty(collections) && isEmpty(ledger) && records.size === 0 && changes.length === 0
  );
}

/** Where a record is stored. Objects are in the collection of their kind. */
export type RecordPlace = "gateway" | "lastFullSet" | "tombstones" | "leases" | `objects/${string}`;

/** The key of a record: its place, and its name if the place has several records. */
export function recordKey(place: RecordPlace, key?: string): string {
  return key === undefined ? place : `${place}/${key}`;
}

/** Unknown parts under construction. */
export class UnrecognizedDraft {
  readonly #base: Unrecognized;
  readonly #records: OrderedMapDraft<string, JsonObject>;
  #ledger: JsonObject;
  #changes: JsonObject[] | undefined;

  constructor(base: Unrecognized) {
    this.#base = base;
    this.#records = base.records.edit();
    this.#ledger = base.ledger;
  }

  /** A record was written or removed. `whole` is set if it has unknown fields. */
  record(whole: JsonObject | undefined, place: RecordPlace, key?: string): void {
    if (whole !== undefined) this.#records.set(recordKey(place, key), whole);
    else if (this.#records.size > 0) this.#records.delete(recordKey(place, key));
  }

  change(change: JsonObject): void {
    this.#changes ??= [...this.#base.changes];
    this.#changes.push(change);
  }

  /** Drops unknown ledger members: the ledger began a new epoch. */
  endLedger(): void {
    if (Object.keys(this.#ledger).length > 0) this.#ledger = {};
    const changes = this.#changes ?? this.#base.changes;
    if (changes.some(isOfLedger)) this.#changes = changes.filter((change) => !isOfLedger(change));
  }

  finish(): Unrecognized {
    const { ledger, records, changes } = this.#base;
    const next = { ledger: this.#ledger, records: this.#records.finish(), changes: this.#changes ?? changes };
    const isSame = next.ledger === ledger && next.records === records && next.changes === changes;
    return isSame ? this.#base : { ...this.#base, ...next };
  }
}

/** New types of ledger changes must have these names, so that older versions know which changes end with an epoch. */
function isOfLedger({ type }: JsonObject): boolean {
  return typeof type === "string" && type.startsWith("ledger-");
}
