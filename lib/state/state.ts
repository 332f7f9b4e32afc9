/**
 * Everything that must survive a restart, and the changes that make one state from another. The store journals
 * changes and knows nothing else of what they mean.
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
  /** False until the first accepted write: unset is not empty. */
  readonly isSet: boolean;
  /** The last accepted full set, by generation and by the digest of its canonical form: what a replay is held against. */
  readonly lastFullSet: { readonly generation: number; readonly digest: string } | undefined;
  /** The creation number that the next new object gets. */
  readonly nextCreation: number;
  /** Deleted uids by `kind/uid`, with the wall-clock time in ms at which they may be forgotten, the oldest first. */
  readonly tombstones: ReadonlyMap<string, number>;
  /** When each Eip that has a lease, and no other, was last renewed. */
  readonly leases: ReadonlyMap<ObjectName, Instant>;
  readonly ledger: Ledger;
  readonly unrecognized: Unrecognized;
}

/** A point in time that can be compared within a boot (monotonic) and across boots (wall clock). */
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

/** The whole record that a change is about, where a newer version gave it fields that this one does not know. */
interface Whole {
  readonly whole?: JsonObject;
}

/** One change of the state: plain JSON, so that the journal can hold it. */
export type StateChange =
  | ({ readonly type: "put"; readonly kind: Kind; readonly object: Stored<Spec> } & Whole)
  | { readonly type: "delete"; readonly kind: Kind; readonly name: ObjectName }
  /** Ends a write: the state's new revision; the store is set from now on. */
  | { readonly type: "revision"; readonly revision: number }
  | ({ readonly type: "gateway"; readonly gateway: Gateway } & Whole)
  | ({ readonly type: "full-set"; readonly generation: number; readonly digest: string } & Whole)
  | ({ readonly type: "tombstone"; readonly key: string; readonly untilMs: number } & Whole)
  | { readonly type: "forget-tombstone"; readonly key: string }
  /** Before its time, to make room. */
  | { readonly type: "evict-tombstone"; readonly key: string }
  | ({ readonly type: "lease"; readonly name: ObjectName; readonly renewed: Instant } & Whole)
  | { readonly type: "ledger-epoch"; readonly epoch: string }
  | { readonly type: "ledger-add"; readonly entry: LedgerAddress }
  | { readonly type: "ledger-remove"; readonly entry: LedgerAddress }
  | { readonly type: "retire"; readonly address: Ip }
  | { readonly type: "unretire"; readonly address: Ip }
  /** One that only a newer version knows, with the creation number that it gives to an object. */
  | { readonly type: "unrecognized"; readonly change: JsonObject; readonly creation?: number };
