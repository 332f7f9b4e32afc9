/**
 * What a newer version of the agent stored and this one does not know. It has no effect here, is stored again word for
 * word, and is in force again once a version that knows it reads the state.
 */
import { OrderedMap, type OrderedMapDraft } from "../ordered-map.ts";

export type JsonObject = Readonly<Record<string, unknown>>;

export interface Unrecognized {
  /** Members of the stored state, by name. */
  readonly members: JsonObject;
  /** Collections of objects whose kind is not known, by name. */
  readonly collections: JsonObject;
  /** Members of the ledger, by name. Like all of the ledger they end with its epoch. */
  readonly ledger: JsonObject;
  /**
   * Records with fields that are not known, whole, by {@link recordKey}: an object, a tombstone. Their known fields are
   * in force; a write that replaces or removes the record ends the others as well.
   */
  readonly records: OrderedMap<string, JsonObject>;
  /** Changes that are not known, in their order. */
  readonly changes: readonly JsonObject[];
}

export const nothingUnrecognized: Unrecognized = {
  members: {},
  collections: {},
  ledger: {},
  records: OrderedMap.from([]),
  changes: [],
};

/** True where everything stored is known. */
export function isAllRecognized({ members, collections, ledger, records, changes }: Unrecognized): boolean {
  const isEmpty = (object: JsonObject) => Object.keys(object).length === 0;
  return (
    isEmpty(members) && isEmpty(collections) && isEmpty(ledger) && records.size === 0 && changes.length === 0
  );
}

/** Where records lie; objects lie in the collection of their kind. */
export type RecordPlace = "gateway" | "lastFullSet" | "tombstones" | "leases" | `objects/${string}`;

/** The key of a record: its place, and which one it is where there are several. */
export function recordKey(place: RecordPlace, key?: string): string {
  return key === undefined ? place : `${place}/${key}`;
}

/** What is not recognized, under construction. */
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

  /** A record was written, `whole` where it has fields that are not known, or removed. */
  record(whole: JsonObject | undefined, place: RecordPlace, key?: string): void {
    if (whole !== undefined) this.#records.set(recordKey(place, key), whole);
    else if (this.#records.size > 0) this.#records.delete(recordKey(place, key));
  }

  change(change: JsonObject): void {
    this.#changes ??= [...this.#base.changes];
    this.#changes.push(change);
  }

  /** The ledger began another epoch: of that one nothing is said. */
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

/** A new type of change about the ledger is named so, that older versions know what ends with an epoch. */
function isOfLedger({ type }: JsonObject): boolean {
  return typeof type === "string" && type.startsWith("ledger-");
}
