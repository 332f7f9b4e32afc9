/** Whether a write may be: judged on its result, and only by the clashes that it brings. */

import { type Claimants, type Clash, type Facts, findClashes } from "../compile/clashes.ts";
import { usersOf } from "../compile/references.ts";
import { GatewayError } from "../model/errors.ts";
import { addressOf, type Cidr, type Ipv4 } from "../model/ipv4.ts";
import { type ObjectId, type ObjectName, parseObjectId } from "../model/names.ts";
import type { Stored } from "../model/stored.ts";
import { type Desired, type DesiredObjects, objectsOf } from "../state/desired.ts";
import type { Decision } from "./writes.ts";

/**
 * Throws `conflict` where the write leaves an object that it wrote clashing, or another that was not clashing before.
 * What clashed already, out of a full set, is no other write's fault. `details.object` names the first in the way,
 * `details.clashes` the first 100 clashes.
 *
 * Objects outside the groups that the write touches cannot change, and are not looked at.
 */
export function rejectNewClashes(before: Desired, after: Desired, decision: Decision, facts: Facts): void {
  const groups = groupsOf([...decision.touched, ...decision.removed], [before, after]);
  const now = findClashes(within(after, groups), facts);
  if (now.size === 0) return;
  const earlier = findClashes(within(before, groups), facts);
  const written = new Set(decision.touched);
  const brought = [...now].filter(([id]) => written.has(id) || !earlier.has(id));
  const [first] = brought;
  if (first === undefined) return;
  const [id, clash] = first;
  throw new GatewayError("conflict", `${id}: ${clash.message}`, {
    details: {
      object: written.has(id) ? clash.with : id,
      clashes: brought.slice(0, 100).map(asDetail),
      clashesTotal: brought.length,
    },
  });
}

/** Throws `in-use` where `eips`, which are to be removed, have users in `desired`; names the first 100 in `details.users`. */
export function rejectInUse(desired: DesiredObjects, eips: ReadonlySet<ObjectName>): void {
  const users = usersOf(desired, eips);
  if (users.length === 0) return;
  throw new GatewayError(
    "in-use",
    `eip ${[...eips].join(", ")} is used by ${users[0]}${andMore(users.length)}`,
    {
      details: { users: users.slice(0, 100), usersTotal: users.length },
    },
  );
}

/** What an object can clash over: see {@link findClashes}. */
interface Groups {
  readonly addresses: Set<Ipv4>;
  readonly eips: Set<ObjectName>;
  readonly destinations: Set<Cidr>;
}

function groupsOf(ids: readonly ObjectId[], sets: readonly DesiredObjects[]): Groups {
  const groups: Groups = { addresses: new Set(), eips: new Set(), destinations: new Set() };
  for (const id of ids) {
    const { kind, name } = parseObjectId(id);
    for (const set of sets) {
      const spec = objectsOf(set, kind).get(name)?.spec;
      if (spec === undefined) continue;
      if ("eip" in spec) groups.eips.add(spec.eip);
      else if ("address" in spec) groups.addresses.add(addressOf(spec.address));
      else groups.destinations.add(spec.destination);
    }
  }
  return groups;
}

function within(desired: Desired, { addresses, eips, destinations }: Groups): Claimants {
  const isOfEip = ({ spec }: Stored<{ readonly eip: ObjectName }>) => eips.has(spec.eip);
  return {
    gateway: desired.gateway,
    eips: pick(desired.eips, addresses.size, ({ spec }) => addresses.has(addressOf(spec.address))),
    fips: pick(desired.fips, eips.size, isOfEip),
    snats: pick(desired.snats, eips.size, isOfEip),
    dnats: pick(desired.dnats, eips.size, isOfEip),
    routes: pick(desired.routes, destinations.size, ({ spec }) => destinations.has(spec.destination)),
  };
}

function pick<T>(
  objects: ReadonlyMap<ObjectName, T>,
  groupCount: number,
  isWanted: (object: T) => boolean,
): ReadonlyMap<ObjectName, T> {
  const picked = new Map<ObjectName, T>();
  if (groupCount > 0) for (const [name, object] of objects) if (isWanted(object)) picked.set(name, object);
  return picked;
}

function asDetail([object, clash]: readonly [ObjectId, Clash]) {
  return { object, with: clash.with, message: clash.message };
}

function andMore(count: number): string {
  return count === 1 ? "" : ` and ${count - 1} more`;
}
