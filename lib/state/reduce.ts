/** Applies changes to a state. */
import { assertNever } from "../assert-never.ts";
import type { Chunked } from "../chunked.ts";
import { recordOf, type Spec } from "../kinds/registry.ts";
import type { Ip } from "../model/ip.ts";
import { emptyLedger, type Ledger, type LedgerAddress, ledgerKey } from "../model/ledger.ts";
import { collectionOf, type Kind, type ObjectName } from "../model/names.ts";
import type { Stored } from "../model/stored.ts";
import { OrderedMap, type OrderedMapDraft } from "../ordered-map.ts";
import { OrderedSet, type OrderedSetDraft } from "../ordered-set.ts";
import { type Desired, objectsOf } from "./desired.ts";
import type { Instant, State, StateChange } from "./state.ts";
import { UnrecognizedDraft } from "./unrecognized.ts";

/**
 * Returns the state after `changes`, in their order. Parts that do not change keep their identity.
 *
 * A put of an existing name keeps its place; a new name goes to the end. So maps stay in order of creation.
 */
export function reduce(state: State, changes: readonly StateChange[]): State {
  const draft = new Draft(state);
  for (const change of changes) draft.apply(change);
  return draft.finish();
}

/** Takes a few milliseconds. */
const reducedAtOnce = 2_000;

/** The same in parts. */
export function* reduceChunked(state: State, changes: readonly StateChange[]): Chunked<State> {
  if (changes.length <= reducedAtOnce) return reduce(state, changes);
  let next = state;
  for (let from = 0; from < changes.length; from += reducedAtOnce) {
    next = reduce(next, changes.slice(from, from + reducedAtOnce));
    yield;
  }
  return next;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
/** A state under construction. */
class Draft {
  readonly #state: Mutable<State>;
  readonly #desired: Mutable<Desired>;
  readonly #objects = new Map<Kind, OrderedMapDraft<ObjectName, Stored<Spec>>>();
  readonly #tombstones: OrderedMapDraft<string, number>;
  readonly #leases: OrderedMapDraft<ObjectName, Instant>;
  readonly #unrecognized: UnrecognizedDraft;
  #ledger: LedgerDraft;

  constructor(state: State) {
    this.#state = { ...state };
    this.#desired = { ...state.desired };
    this.#tombstones = OrderedMap.from(state.tombstones).edit();
    this.#leases = OrderedMap.from(state.leases).edit();
    this.#unrecognized = new UnrecognizedDraft(state.unrecognized);
    this.#ledger = new LedgerDraft(state.ledger);
  }

  apply(change: StateChange): void {
    switch (change.type) {
      case "put":
        this.#put(change.kind, change.object);
        this.#unrecognized.record(change.whole, placeOf(change.kind), change.object.spec.name);
        return;
      case "delete":
        this.#objectsOf(change.kind).delete(change.name);
        if (change.kind === "eip") this.#endLease(change.name);
        this.#unrecognized.record(undefined, placeOf(change.kind), change.name);
        return;
      case "revision":
        this.#desired.revision = change.revision;
        this.#state.isSet = true;
        return;
      case "gateway":
        this.#desired.gateway = change.gateway;
        this.#unrecognized.record(change.whole, "gateway");
        return;
      case "full-set":
        this.#desired.generation = change.generation;
        this.#state.lastFullSet = { generation: change.generation, digest: change.digest };
        this.#unrecognized.record(change.whole, "lastFullSet");
        return;
      case "tombstone":
        // Move it to the end even if it was there before: the map stays in order of expiry.
        this.#tombstones.delete(change.key);
        this.#tombstones.set(change.key, change.untilMs);
        this.#unrecognized.record(change.whole, "tombstones", change.key);
        return;
      case "forget-tombstone":
      case "evict-tombstone":
        this.#tombstones.delete(change.key);
        this.#unrecognized.record(undefined, "tombstones", change.key);
        return;
      case "lease":
        this.#leases.set(change.name, change.renewed);
        this.#unrecognized.record(change.whole, "leases", change.name);
        return;
      case "ledger-epoch":
        this.#ledger = new LedgerDraft({ ...emptyLedger, epoch: change.epoch });
        this.#unrecognized.endLedger();
        return;
      case "ledger-add":
        this.#ledger.addresses.set(ledgerKey(change.entry), change.entry);
        return;
      case "ledger-remove":
        this.#ledger.addresses.delete(ledgerKey(change.entry));
        return;
      case "retire":
        this.#ledger.retired.add(change.address);
        return;
      case "unretire":
        this.#ledger.retired.delete(change.address);
        return;
      case "unrecognized":
        this.#unrecognized.change(change.change);
        if (change.creation !== undefined) this.#skipCreation(change.creation);
        return;
      default:
        assertNever(change);
    }
  }

  finish(): State {
    for (const [kind, objects] of this.#objects)
      Object.assign(this.#desired, { [collectionOf(kind)]: objects.finish() });
    return {
      ...this.#state,
      desired: unlessSame(this.#state.desired, this.#desired),
      tombstones: this.#tombstones.finish(),
      leases: this.#leases.finish(),
      ledger: this.#ledger.finish(),
      unrecognized: this.#unrecognized.finish(),
    };
  }

  #put(kind: Kind, object: Stored<Spec>): void {
    this.#objectsOf(kind).set(object.spec.name, object);
    this.#skipCreation(object.creation);
    if (kind === "eip" && !isLeased(kind, object.spec)) this.#endLease(object.spec.name);
  }

  #endLease(name: ObjectName): void {
    this.#leases.delete(name);
    this.#unrecognized.record(undefined, "leases", name);
  }

  #skipCreation(creation: number): void {
    this.#state.nextCreation = Math.max(this.#state.nextCreation, creation + 1);
  }

  #objectsOf(kind: Kind): OrderedMapDraft<ObjectName, Stored<Spec>> {
    const known = this.#objects.get(kind);
    if (known !== undefined) return known;
    const objects: ReadonlyMap<ObjectName, Stored<Spec>> = objectsOf(this.#desired, kind);
    const draft = OrderedMap.from(objects).edit();
    this.#objects.set(kind, draft);
    return draft;
  }
}

class LedgerDraft {
  readonly addresses: OrderedMapDraft<string, LedgerAddress>;
  readonly retired: OrderedSetDraft<Ip>;
  readonly #base: Ledger;

  constructor(base: Ledger) {
    this.#base = base;
    this.addresses = OrderedMap.from(base.addresses).edit();
    this.retired = OrderedSet.from(base.retired).edit();
  }

  finish(): Ledger {
    const next = { ...this.#base, addresses: this.addresses.finish(), retired: this.retired.finish() };
    return unlessSame(this.#base, next);
  }
}

/** `before` if `after` has the same parts: what was computed from it stays valid. */
function unlessSame<T extends object>(before: T, after: T): T {
  const names = Object.keys(after) as (keyof T)[];
  return names.every((name) => before[name] === after[name]) ? before : after;
}

function placeOf(kind: Kind): `objects/${string}` {
  return `objects/${collectionOf(kind)}`;
}

function isLeased(kind: Kind, spec: Spec): boolean {
  return recordOf(kind).leaseSeconds?.(spec) !== undefined;
}
