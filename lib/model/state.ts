/**
 * Everything that must survive a restart, and the changes that make one state from another. The store journals
 * changes and knows nothing else of what they mean.
 */
import { OrderedMap } from "../ordered-map.ts";
import { OrderedSet } from "../ordered-set.ts";
import { type Desired, emptyDesired, type Stored } from "./desired.ts";
import type { Ipv4 } from "./ipv4.ts";
import type { InterfaceName, Kind, ObjectName } from "./names.ts";
import type { Gateway, Spec } from "./schema.ts";
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

/** What the agent put into this namespace, written down before it did. Of another epoch it says nothing. */
export interface Ledger {
  /** The namespace's life that the ledger speaks of; empty before the first. */
  readonly epoch: string;
  /** Addresses programmed or adopted, by {@link ledgerKey}. */
  readonly addresses: ReadonlyMap<string, LedgerAddress>;
  /** EIPs taken out whose flows may still live: written before the rules go, forgotten once the flows went. */
  readonly retired: ReadonlySet<Ipv4>;
}

export interface LedgerAddress {
  readonly interface: InterfaceName;
  readonly address: Ipv4;
  readonly prefixLength: number;
}

export function ledgerKey(entry: LedgerAddress): string {
  return `${entry.interface} ${entry.address}/${entry.prefixLength}`;
}

export const emptyLedger: Ledger = {
  epoch: "",
  addresses: OrderedMap.from([]),
  retired: OrderedSet.from([]),
};

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
  | { readonly type: "retire"; readonly address: Ipv4 }
  | { readonly type: "unretire"; readonly address: Ipv4 }
  /** One that only a newer version knows, with the creation number that it gives to an object. */
  | { readonly type: "unrecognized"; readonly change: JsonObject; readonly creation?: number };
