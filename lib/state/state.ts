/**
 * Everything that must survive a restart, and the changes that make one state from another. The store journals
 * changes and knows nothing else of what they mean.
 */

import { assertNever } from "../assert-never.ts";
import { recordOf, type Spec } from "../kinds/registry.ts";
import type { Ipv4 } from "../model/ipv4.ts";
import { emptyLedger, type Ledger, type LedgerAddress, ledgerKey } from "../model/ledger.ts";
import { collectionOf, type Kind, type ObjectName } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";
import { type Desired, emptyDesired, objectsOf } from "./desired.ts";

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
  tombstones: new Map(),
  leases: new Map(),
  ledger: emptyLedger,
};

/** One change of the state: plain JSON, so that the journal can hold it. */
export type StateChange =
  | { readonly type: "put"; readonly kind: Kind; readonly object: Stored<Spec> }
  | { readonly type: "delete"; readonly kind: Kind; readonly name: ObjectName }
  /** Ends a write: the state's new revision; the store is set from now on. */
  | { readonly type: "revision"; readonly revision: number }
  | { readonly type: "gateway"; readonly gateway: Gateway }
  | { readonly type: "full-set"; readonly generation: number; readonly digest: string }
  | { readonly type: "tombstone"; readonly key: string; readonly untilMs: number }
  | { readonly type: "forget-tombstone"; readonly key: string }
  | { readonly type: "lease"; readonly name: ObjectName; readonly renewed: Instant }
  | { readonly type: "ledger-epoch"; readonly epoch: string }
  | { readonly type: "ledger-add"; readonly entry: LedgerAddress }
  | { readonly type: "ledger-remove"; readonly entry: LedgerAddress }
  | { readonly type: "retire"; readonly address: Ipv4 }
  | { readonly type: "unretire"; readonly address: Ipv4 };

/**
 * The state after `changes`, in their order. Copies only the maps that they touch.
 *
 * A put of a name that exists keeps its place; a new one goes to the end, so that maps stay in order of creation.
 */
export function reduce(state: State, changes: readonly StateChange[]): State {
  const draft = new Draft(state);
  for (const change of changes) draft.apply(change);
  return draft.state;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A state under construction: each map is copied at its first write. */
class Draft {
  readonly state: Mutable<State>;
  readonly #owned = new Set<unknown>();

  constructor(state: State) {
    this.state = { ...state, desired: { ...state.desired }, ledger: { ...state.ledger } };
  }

  apply(change: StateChange): void {
    const { state } = this;
    const desired: Mutable<Desired> = state.desired;
    const ledger: Mutable<Ledger> = state.ledger;
    switch (change.type) {
      case "put":
        this.#objects(change.kind).set(change.object.spec.name, change.object);
        state.nextCreation = Math.max(state.nextCreation, change.object.creation + 1);
        if (!isLeased(change.kind, change.object.spec)) this.#endLease(change.kind, change.object.spec.name);
        return;
      case "delete":
        this.#objects(change.kind).delete(change.name);
        this.#endLease(change.kind, change.name);
        return;
      case "revision":
        desired.revision = change.revision;
        state.isSet = true;
        return;
      case "gateway":
        desired.gateway = change.gateway;
        return;
      case "full-set":
        desired.generation = change.generation;
        state.lastFullSet = { generation: change.generation, digest: change.digest };
        return;
      case "tombstone": {
        // To the end, even where it was remembered before: the map stays in order of forgetting.
        const tombstones = this.#map(state.tombstones);
        tombstones.delete(change.key);
        state.tombstones = tombstones.set(change.key, change.untilMs);
        return;
      }
      case "forget-tombstone": {
        const tombstones = this.#map(state.tombstones);
        tombstones.delete(change.key);
        state.tombstones = tombstones;
        return;
      }
      case "lease":
        state.leases = this.#map(state.leases).set(change.name, change.renewed);
        return;
      case "ledger-epoch":
        state.ledger = { ...emptyLedger, epoch: change.epoch };
        return;
      case "ledger-add":
        ledger.addresses = this.#map(ledger.addresses).set(ledgerKey(change.entry), change.entry);
        return;
      case "ledger-remove": {
        const addresses = this.#map(ledger.addresses);
        addresses.delete(ledgerKey(change.entry));
        ledger.addresses = addresses;
        return;
      }
      case "retire":
        ledger.retired = this.#set(ledger.retired).add(change.address);
        return;
      case "unretire": {
        const retired = this.#set(ledger.retired);
        retired.delete(change.address);
        ledger.retired = retired;
        return;
      }
      default:
        assertNever(change);
    }
  }

  #endLease(kind: Kind, name: ObjectName): void {
    if (kind !== "eip" || !this.state.leases.has(name)) return;
    const leases = this.#map(this.state.leases);
    leases.delete(name);
    this.state.leases = leases;
  }

  #objects(kind: Kind): Map<ObjectName, Stored<Spec>> {
    const copy = this.#map<ObjectName, Stored<Spec>>(objectsOf(this.state.desired, kind));
    Object.assign(this.state.desired, { [collectionOf(kind)]: copy });
    return copy;
  }

  #map<K, V>(map: ReadonlyMap<K, V>): Map<K, V> {
    if (this.#owned.has(map)) return map as Map<K, V>;
    const copy = new Map(map);
    this.#owned.add(copy);
    return copy;
  }

  #set<T>(set: ReadonlySet<T>): Set<T> {
    if (this.#owned.has(set)) return set as Set<T>;
    const copy = new Set(set);
    this.#owned.add(copy);
    return copy;
  }
}

function isLeased(kind: Kind, spec: Spec): boolean {
  return recordOf(kind).leaseSeconds?.(spec) !== undefined;
}
