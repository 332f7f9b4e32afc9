/**
 * Everything that must survive a restart, and the changes from one state to another. The store journals these changes
 * and does not know their meaning.
 */
import type { Spec } from "../kinds/registry.ts";
import type { Ip } from "../model/ip.ts";
import { emptyLedger, type Ledger, type LedgerAddress } from "../model/ledger.ts";
import type { Kind, ObjectName } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";
import { OrderedMap } from "../ordered-map.ts";
import { type Desired, emptyDesired } from "./desired.ts";
import { type JsonObject, nothingUnrecognized, type Unrecognized } from "./unrecognized.ts";

export interface State {
  readonly desired: Desired;
  /** False until the first accepted write. An unset store is not an empty one. */
  readonly isSet: boolean;
  /** The last accepted full set: its generation and the digest of its canonical form. A replay is compared with it. */
  readonly lastFullSet: { readonly generation: number; readonly digest: string } | undefined;
  /** The creation number of the next new object. */
  readonly nextCreation: number;
  /**
   * Deleted uids as `kind/uid`, oldest first. The value is the wall-clock time in ms at which the uid may be forgotten.
   */
  readonly tombstones: ReadonlyMap<string, number>;
  /** The time of the last renewal of each Eip that has a lease. Eips without a lease are absent. */
  readonly leases: ReadonlyMap<ObjectName, Instant>;
  readonly ledger: Ledger;
  readonly unrecognized: Unrecognized;
}

/** A point in time. Comparable within a boot (monotonic clock) and across boots (wall clock). */
export interface Instant {
  readonly bootId: string;
  /** Milliseconds of CLOCK_BOOTTIME. */
  readonly bootMs: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

export const emptyState: State = {
  desired: emptyDesired,
  isSet: false,
  lastFullSet: undefined,
  nextCreation: 1,
  tombstones: OrderedMap.from([]),
  leases: OrderedMap.from([]),
  ledger: emptyLedger,
  unrecognized: nothingUnrecognized,
};

/** `whole`: the complete record, if a newer version stored fields that this version does not know. */
interface Whole {
  readonly whole?: JsonObject;
}

/** One change of the state. Plain JSON, so that the journal can store it. */
export type StateChange =
  | ({ readonly type: "put"; readonly kind: Kind; readonly object: Stored<Spec> } & Whole)
  | { readonly type: "delete"; readonly kind: Kind; readonly name: ObjectName }
  /** Ends a write: sets the new revision. The store is set from then on. */
  | { readonly type: "revision"; readonly revision: number }
  | ({ readonly type: "gateway"; readonly gateway: Gateway } & Whole)
  | ({ readonly type: "full-set"; readonly generation: number; readonly digest: string } & Whole)
  | ({ readonly type: "tombstone"; readonly key: string; readonly untilMs: number } & Whole)
  | { readonly type: "forget-tombstone"; readonly key: string }
  /** Forgotten before its time, to make room. */
  | { readonly type: "evict-tombstone"; readonly key: string }
  | ({ readonly type: "lease"; readonly name: ObjectName; readonly renewed: Instant } & Whole)
  | { readonly type: "ledger-epoch"; readonly epoch: string }
  | { readonly type: "ledger-add"; readonly entry: LedgerAddress }
  | { readonly type: "ledger-remove"; readonly entry: LedgerAddress }
  | { readonly type: "retire"; readonly address: Ip }
  | { readonly type: "unretire"; readonly address: Ip }
  /** A change that only a newer version knows, with the creation number that it gives to an object. */
  | { readonly type: "unrecognized"; readonly change: JsonObject; readonly creation?: number };
