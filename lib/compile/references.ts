/** Who refers to which Eip. Names, not objects: an Eip that is not there yet has users already. */

import { type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import { type DesiredObjects, objectsOf } from "../state/desired.ts";

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
