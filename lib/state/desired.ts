/** The desired set as the store holds it: what was asked for, clashes included. */
import type { Collection, Kind, ObjectName } from "../model/names.ts";
import type { Gateway, SpecOf } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";

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
  eips: new Map(),
  fips: new Map(),
  snats: new Map(),
  dnats: new Map(),
  routes: new Map(),
};

/** The objects of one kind; the one place that relates a kind to its collection's type. */
export function objectsOf<K extends Kind>(
  desired: DesiredObjects,
  kind: K,
): ReadonlyMap<ObjectName, StoredOf[K]> {
  const collection: Collection = `${kind}s`;
  return desired[collection] as ReadonlyMap<ObjectName, StoredOf[K]>;
}
