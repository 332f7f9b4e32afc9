/** Which objects refer to which Eip. By name: an Eip that does not exist yet can already have users. */
import { type Chunked, everyNth, runSync } from "../chunked.ts";
import { recordOf } from "../kinds/registry.ts";
import { addressOf, type Ip } from "../model/ip.ts";
import { type Kind, kinds, type ObjectId, type ObjectName, objectId, parseObjectId } from "../model/names.ts";
import { type DesiredObjects, objectsOf } from "../state/desired.ts";

/**
 * The users of each Eip name, including clashing ones: kind by kind in the order of {@link kinds}, each in order of
 * creation.
 */
export function usersByEip(desired: DesiredObjects): ReadonlyMap<ObjectName, readonly ObjectId[]> {
  return runSync(usersByEipChunked(desired));
}

/** Takes a few milliseconds. */
const visitedAtOnce = 5_000;

/** The same in parts. */
export function* usersByEipChunked(
  desired: DesiredObjects,
): Chunked<ReadonlyMap<ObjectName, readonly ObjectId[]>> {
  const users = new Map<ObjectName, ObjectId[]>();
  let visited = 0;
  for (const kind of kinds) {
    for (const [eip, name] of referencesOf(kind, desired)) {
      if (++visited % visitedAtOnce === 0) yield;
      const user = objectId(kind, name);
      const listed = users.get(eip);
      if (listed === undefined) users.set(eip, [user]);
      else listed.push(user);
    }
  }
  return users;
}

/** The users of any of `eips`, in the same order. Cheap if there are few. */
export function usersOf(desired: DesiredObjects, eips: ReadonlySet<ObjectName>): readonly ObjectId[] {
  return runSync(usersOfChunked(desired, eips));
}

/** The same in parts. */
export function* usersOfChunked(
  desired: DesiredObjects,
  eips: ReadonlySet<ObjectName>,
): Chunked<readonly ObjectId[]> {
  const users: ObjectId[] = [];
  if (eips.size === 0) return users;
  const isDue = everyNth(visitedAtOnce);
  for (const kind of kinds)
    for (const [eip, name] of referencesOf(kind, desired)) {
      if (isDue()) yield;
      if (eips.has(eip)) users.push(objectId(kind, name));
    }
  return users;
}

/** The addresses of the Eips in `ids` or referred to by `ids`, if they exist. */
export function eipAddressesOf(desired: DesiredObjects, ids: readonly ObjectId[]): ReadonlySet<Ip> {
  const addresses = new Set<Ip>();
  for (const id of ids) {
    const { kind, name } = parseObjectId(id);
    const eip = kind === "eip" ? name : eipNamedBy(kind, name, desired);
    const stored = eip && desired.eips.get(eip);
    if (stored !== undefined) addresses.add(addressOf(stored.spec.address));
  }
  return addresses;
}

function eipNamedBy<K extends Kind>(
  kind: K,
  name: ObjectName,
  desired: DesiredObjects,
): ObjectName | undefined {
  const stored = objectsOf(desired, kind).get(name);
  return stored && recordOf(kind).eipOf?.(stored.spec);
}

/** Yields each object of a kind that refers to an Eip, with the Eip's name first. */
function* referencesOf<K extends Kind>(
  kind: K,
  desired: DesiredObjects,
): Generator<readonly [eip: ObjectName, user: ObjectName]> {
  const { eipOf } = recordOf(kind);
  if (eipOf === undefined) return;
  for (const [name, { spec }] of objectsOf(desired, kind)) {
    const eip = eipOf(spec);
    if (eip !== undefined) yield [eip, name];
  }
}
