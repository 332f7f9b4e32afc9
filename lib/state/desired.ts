/** The desired set as stored: what was asked for, including clashing objects. */

import { recordOf, type Spec, type SpecOf } from "../kinds/registry.ts";
import {
  type Collection,
  collectionOf,
  type Kind,
  kinds,
  type ObjectId,
  type ObjectName,
  parseObjectId,
} from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";
import { OrderedMap } from "../ordered-map.ts";

export type StoredOf = { readonly [K in Kind]: Stored<SpecOf[K]> };

/** The objects of each kind by name, in order of creation number. */
export type DesiredObjects = {
  readonly [K in Kind as `${K}s`]: ReadonlyMap<ObjectName, StoredOf[K]>;
};

export interface Desired extends DesiredObjects {
  /** Rises with every accepted write. It is the ETag. 0 before the first write. */
  readonly revision: number;
  /** The generation of the last accepted full set. 0 before the first one. */
  readonly generation: number;
  readonly gateway: Gateway;
}

export const emptyDesired: Desired = {
  revision: 0,
  generation: 0,
  gateway: {},
  ...makeObjects(() => OrderedMap.from([])),
};

/** The objects of one kind. Only this function and {@link makeObjects} relate a kind to the type of its collection. */
export function objectsOf<K extends Kind>(
  desired: DesiredObjects,
  kind: K,
): ReadonlyMap<ObjectName, StoredOf[K]> {
  const collection: Collection = collectionOf(kind);
  return desired[collection] as ReadonlyMap<ObjectName, StoredOf[K]>;
}

/** Objects of every kind. `make` creates each collection. */
export function makeObjects(
  make: <K extends Kind>(kind: K) => ReadonlyMap<ObjectName, StoredOf[K]>,
): DesiredObjects {
  const objects: unknown = Object.fromEntries(kinds.map((kind) => [collectionOf(kind), make(kind)]));
  return objects as DesiredObjects;
}

/** A stored object with its kind, so that no code has to guess the kind from the spec. */
export interface FoundObject {
  readonly kind: Kind;
  readonly stored: Stored<Spec>;
}

/** The object stored under an id. */
export function findObject(desired: DesiredObjects, id: ObjectId): FoundObject | undefined {
  const { kind, name } = parseObjectId(id);
  const stored: Stored<Spec> | undefined = objectsOf(desired, kind).get(name);
  return stored === undefined ? undefined : { kind, stored };
}

/** The revision of the Eip that an object refers to. 0 if it refers to none, or to one that does not exist. */
export function eipRevisionOf(desired: DesiredObjects, { kind, stored }: FoundObject): number {
  const eip = recordOf(kind).eipOf?.(stored.spec);
  return (eip === undefined ? undefined : desired.eips.get(eip))?.revision ?? 0;
}
