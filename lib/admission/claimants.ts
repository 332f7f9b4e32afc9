/**
 * Finds the objects of a kind with given identities. An index follows each collection from one version to the next, so that a
 * write among 10,000 objects does not look at all of them.
 */
import { type Chunked, everyNth, forEachChunked, runSync } from "../chunked.ts";
import { Groups } from "../groups.ts";
import type { ClashContext } from "../kinds/clash.ts";
import { recordOf } from "../kinds/registry.ts";
import type { Kind, ObjectName } from "../model/names.ts";
import { OrderedMap } from "../ordered-map.ts";
import { type DesiredObjects, objectsOf, type StoredOf } from "../state/desired.ts";

/** In order of creation. */
export function objectsWith<K extends Kind>(
  ...given: Parameters<typeof objectsWithChunked<K>>
): ReadonlyMap<ObjectName, StoredOf[K]> {
  return runSync(objectsWithChunked(...given));
}

/** The index follows a collection in one part: with more identities, all objects are looked at instead, in parts. */
const maxIndexed = 1_000;

/** The same in parts. */
export function* objectsWithChunked<K extends Kind>(
  desired: DesiredObjects,
  kind: K,
  identities: ReadonlySet<string>,
  context: ClashContext,
): Chunked<ReadonlyMap<ObjectName, StoredOf[K]>> {
  const objects = objectsOf(desired, kind);
  const isIndexed = objects instanceof OrderedMap && identities.size <= maxIndexed;
  const index = isIndexed ? yield* indexOf<K>(kind, objects) : undefined;
  return index === undefined
    ? yield* searchAllChunked(objects, kind, identities, context)
    : new Map(
        [...identities]
          .flatMap((identity) => [...index.of(identity)])
          .map((name) => [name, objects.get(name)] as const)
          .filter((entry): entry is [ObjectName, StoredOf[K]] => entry[1] !== undefined)
          .sort(([, one], [, other]) => one.creation - other.creation),
      );
}

/** The plain version. */
export function searchAll<K extends Kind>(
  ...given: Parameters<typeof searchAllChunked<K>>
): ReadonlyMap<ObjectName, StoredOf[K]> {
  return runSync(searchAllChunked(...given));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 2_000;

/** The same in parts. */
export function* searchAllChunked<K extends Kind>(
  objects: ReadonlyMap<ObjectName, StoredOf[K]>,
  kind: K,
  identities: ReadonlySet<string>,
  context: ClashContext,
): Chunked<ReadonlyMap<ObjectName, StoredOf[K]>> {
  const { identity } = recordOf(kind);
  const isDue = everyNth(lookedAtOnce);
  const found = new Map<ObjectName, StoredOf[K]>();
  for (const [name, stored] of objects) {
    if (isDue()) yield;
    if (identities.has(identity(stored.spec, context))) found.set(name, stored);
  }
  return found;
}

interface Index<K extends Kind> {
  of: OrderedMap<ObjectName, StoredOf[K]>;
  readonly names: Groups<ObjectName>;
}

/** One for each lineage, and so of one kind: it changes with the collection that was asked about last. */
const indexes = new WeakMap<object, unknown>();

/** `undefined` if identities of this kind depend on more than the spec. */
function* indexOf<K extends Kind>(
  kind: K,
  objects: OrderedMap<ObjectName, StoredOf[K]>,
): Chunked<Groups<ObjectName> | undefined> {
  const { ownIdentity } = recordOf(kind);
  if (ownIdentity === undefined) return undefined;
  const known = indexes.get(objects.lineage) as Index<K> | undefined;
  if (known === undefined) {
    const names = new Groups<ObjectName>();
    yield* forEachChunked(objects, lookedAtOnce, ([name, { spec }]) => names.add(ownIdentity(spec), name));
    indexes.set(objects.lineage, { of: objects, names } satisfies Index<K>);
    return names;
  }
  const { names } = known;
  objects.forEachChange(known.of, (name, now, was) => {
    if (was !== undefined) names.delete(ownIdentity(was.spec), name);
    if (now !== undefined) names.add(ownIdentity(now.spec), name);
  });
  known.of = objects;
  return names;
}
