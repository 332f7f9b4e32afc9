/** Who refers to which Eip. Names, not objects: an Eip that is not there yet has users already. */
import { type DesiredObjects, objectsOf } from "../model/desired.ts";
import { addressOf, type Ipv4 } from "../model/ipv4.ts";
import { type ObjectId, type ObjectName, objectId, parseObjectId } from "../model/names.ts";

/** The kinds that refer to an Eip, in the order in which users are listed. */
export const userKinds = ["fip", "snat", "dnat"] as const;

/** The users of each Eip's name, clashing ones too: FIPs, SNATs, DNATs, each by creation. */
export function usersByEip(desired: DesiredObjects): ReadonlyMap<ObjectName, readonly ObjectId[]> {
  const users = new Map<ObjectName, ObjectId[]>();
  for (const kind of userKinds)
    for (const [name, { spec }] of objectsOf(desired, kind)) {
      const listed = users.get(spec.eip);
      if (listed === undefined) users.set(spec.eip, [objectId(kind, name)]);
      else listed.push(objectId(kind, name));
    }
  return users;
}

/** The users of any of `eips`, in the same order; cheap where they are few. */
export function usersOf(desired: DesiredObjects, eips: ReadonlySet<ObjectName>): readonly ObjectId[] {
  const users: ObjectId[] = [];
  if (eips.size === 0) return users;
  for (const kind of userKinds)
    for (const [name, { spec }] of objectsOf(desired, kind))
      if (eips.has(spec.eip)) users.push(objectId(kind, name));
  return users;
}

/** The addresses of Eips that `ids` are or refer to, as far as they exist. */
export function eipAddressesOf(desired: DesiredObjects, ids: readonly ObjectId[]): ReadonlySet<Ipv4> {
  const addresses = new Set<Ipv4>();
  for (const id of ids) {
    const { kind, name } = parseObjectId(id);
    const user = userKinds.find((one) => one === kind);
    const eip = kind === "eip" ? name : user && objectsOf(desired, user).get(name)?.spec.eip;
    const stored = eip && desired.eips.get(eip);
    if (stored !== undefined) addresses.add(addressOf(stored.spec.address));
  }
  return addresses;
}
