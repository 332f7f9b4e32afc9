/** The desired set as the store holds it: what was asked for, clashes included. */
import { OrderedMap } from "../ordered-map.ts";
import type { Collection, Kind, ObjectName } from "./names.ts";
import type { Gateway, SpecOf } from "./schema.ts";

/** One object with what the store knows about it. */
export interface Stored<S> {
  /** In canonical form: networks masked, absent optional fields left out. */
  readonly spec: S;
  /** The store's revision at which this spec was written. */
  readonly revision: number;
  /** Rises with each creation and is kept across replacing: of two that clash the lower is the elder. */
  readonly creation: number;
}

export type StoredOf = { readonly [K in Kind]: Stored<SpecOf[K]> };

/** The objects of each kind by name, in order of creation number. */
export type DesiredObjects = {
  readonly [K in Kind as `${K}s`]: ReadonlyMap<ObjectName, StoredOf[K]>;
};

export interface Desired extends DesiredObjects {
  /** Rises with every accepted write; the ETag. 0 before the first. */
  readonly revision: number;
  /** The generation of the last accepted full set; 0 before the first. */
  readonly generation: number;
  readonly gateway: Gateway;
}

export const emptyDesired: Desired = {
  revision: 0,
  generation: 0,
  gateway: {},
  eips: OrderedMap.from([]),
  fips: OrderedMap.from([]),
  snats: OrderedMap.from([]),
  dnats: OrderedMap.from([]),
  routes: OrderedMap.from([]),
};

/** The objects of one kind; the one place that relates a kind to its collection's type. */
export function objectsOf<K extends Kind>(
  desired: DesiredObjects,
  kind: K,
): ReadonlyMap<ObjectName, StoredOf[K]> {
  const collection: Collection = `${kind}s`;
  return desired[collection] as ReadonlyMap<ObjectName, StoredOf[K]>;
}
