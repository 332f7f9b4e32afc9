/** Who refers to which Eip. Names, not objects: an Eip that is not there yet has users already. */
import { recordOf } from "../kinds/registry.ts";
import { addressOf, type Ip } from "../model/ip.ts";
import { type Kind, kinds, type ObjectId, type ObjectName, objectId, parseObjectId } from "../model/names.ts";
import { type DesiredObjects, objectsOf } from "../state/desired.ts";

/** The users of each Eip's name, clashing ones too: kind by kind, in the order of {@link kinds}, each by creation. */
export function usersByEip(desired: DesiredObjects): ReadonlyMap<ObjectName, readonly ObjectId[]> {
  const users = new Map<ObjectName, ObjectId[]>();
  visitReferences(desired, (eip, user) => {
    const listed = users.get(eip);
    if (listed === undefined) users.set(eip, [user()]);
    else listed.push(user());
  });
  return users;
}

/** The users of any of `eips`, in the same order; cheap where they are few. */
export function usersOf(desired: DesiredObjects, eips: ReadonlySet<ObjectName>): readonly ObjectId[] {
  const users: ObjectId[] = [];
  if (eips.size === 0) return users;
  visitReferences(desired, (eip, user) => {
    if (eips.has(eip)) users.push(user());
  });
  return users;
}

/** The addresses of Eips that `ids` are or refer to, as far as they exist. */
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

type Visitor = (eip: ObjectName, user: () => ObjectId) => void;

function visitReferences(desired: DesiredObjects, visit: Visitor): void {
  for (const kind of kinds) visitKind(kind, desired, visit);
}

function visitKind<K extends Kind>(kind: K, desired: DesiredObjects, visit: Visitor): void {
  const { eipOf } = recordOf(kind);
  if (eipOf === undefined) return;
  for (const [name, { spec }] of objectsOf(desired, kind)) {
    const eip = eipOf(spec);
    if (eip !== undefined) visit(eip, () => objectId(kind, name));
  }
}
