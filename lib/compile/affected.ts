/**
 * The part of the desired set that a change of some FIPs and DNATs can reach, so that it can be compiled and planned by
 * itself, with the same functions, at a price that does not grow with the rest.
 *
 * Fates are shared by the Eips of one IP, by the users of one Eip, and by the FIPs of one internal IP (the eldest is used
 * outwards). A set that is closed under all three comes out of the compiler just as it does amid all others. SNATs and
 * Routes share nothing with FIPs and DNATs, and are left out.
 */

import { addressOf, type Ipv4 } from "../model/ipv4.ts";
import { type ObjectId, type ObjectName, objectId, parseObjectId } from "../model/names.ts";
import type { Spec } from "../model/schema.ts";
import type { Stored } from "../model/stored.ts";
import { type Desired, objectsOf } from "../state/desired.ts";

/** Who shares a fate with whom, kept up to date change by change. */
export class AffectedSet {
  readonly #eipsByIp = new Groups<Ipv4, ObjectId>();
  readonly #usersByEip = new Groups<ObjectName, ObjectId>();
  readonly #fipsByInternalIp = new Groups<Ipv4, ObjectId>();

  constructor(desired: Desired) {
    for (const kind of ["eip", "fip", "dnat"] as const) {
      for (const { spec } of objectsOf(desired, kind).values()) this.#enter(objectId(kind, spec.name), spec);
    }
  }

  /** Takes note of what became of `ids` between two sets. */
  follow(before: Desired, after: Desired, ids: Iterable<ObjectId>): void {
    for (const id of ids) {
      const was = storedOf(before, id)?.spec;
      const is = storedOf(after, id)?.spec;
      if (was !== undefined) this.#leave(id, was);
      if (is !== undefined) this.#enter(id, is);
    }
  }

  /**
   * The ids that share a fate with `ids` as they stand in any of `sets`; `undefined` where there are more than `limit`.
   * Every one of `sets` must have been followed, the last one last.
   */
  around(
    ids: Iterable<ObjectId>,
    sets: readonly Desired[],
    limit: number,
  ): ReadonlySet<ObjectId> | undefined {
    const found = new Set(ids);
    for (const id of found) {
      if (found.size > limit) return undefined;
      for (const set of sets) {
        const spec = storedOf(set, id)?.spec;
        if (spec !== undefined) for (const other of this.#sharing(spec)) found.add(other);
      }
    }
    return found;
  }

  *#sharing(spec: Spec): Generator<ObjectId> {
    if ("address" in spec) {
      yield* this.#eipsByIp.of(addressOf(spec.address));
      yield* this.#usersByEip.of(spec.name);
    }
    if ("eip" in spec) {
      yield objectId("eip", spec.eip);
      yield* this.#usersByEip.of(spec.eip);
    }
    if (isFip(spec)) yield* this.#fipsByInternalIp.of(spec.internalIp);
  }

  #enter(id: ObjectId, spec: Spec): void {
    if ("address" in spec) this.#eipsByIp.add(addressOf(spec.address), id);
    else if ("eip" in spec) this.#usersByEip.add(spec.eip, id);
    if (isFip(spec)) this.#fipsByInternalIp.add(spec.internalIp, id);
  }

  #leave(id: ObjectId, spec: Spec): void {
    if ("address" in spec) this.#eipsByIp.delete(addressOf(spec.address), id);
    else if ("eip" in spec) this.#usersByEip.delete(spec.eip, id);
    if (isFip(spec)) this.#fipsByInternalIp.delete(spec.internalIp, id);
  }
}

/** The set with only the Eips, FIPs and DNATs of `ids`, in order of creation. */
export function restrictTo(desired: Desired, ids: ReadonlySet<ObjectId>): Desired {
  const eips = pick(desired, "eip", ids);
  const fips = pick(desired, "fip", ids);
  const dnats = pick(desired, "dnat", ids);
  return { ...desired, eips, fips, dnats, snats: new Map(), routes: new Map() };
}

function pick<K extends "eip" | "fip" | "dnat">(desired: Desired, kind: K, ids: ReadonlySet<ObjectId>) {
  const objects = objectsOf(desired, kind);
  const picked: [ObjectName, NonNullable<ReturnType<typeof objects.get>>][] = [];
  for (const id of ids) {
    const { kind: itsKind, name } = parseObjectId(id);
    const object = itsKind === kind ? objects.get(name) : undefined;
    if (object !== undefined) picked.push([name, object]);
  }
  return new Map(picked.sort(([, one], [, other]) => one.creation - other.creation));
}

function storedOf(desired: Desired, id: ObjectId): Stored<Spec> | undefined {
  const { kind, name } = parseObjectId(id);
  return objectsOf(desired, kind).get(name);
}

function isFip(spec: Spec): spec is Spec & { readonly internalIp: Ipv4 } {
  return "internalIp" in spec && !("protocol" in spec);
}

/** Most groups have one member, which is kept without a set around it: at 10,000 objects that saves megabytes. */
class Groups<Key, Member extends string> {
  readonly #groups = new Map<Key, Member | Set<Member>>();

  of(key: Key): Iterable<Member> {
    const group = this.#groups.get(key);
    if (group === undefined) return [];
    return typeof group === "string" ? [group] : group;
  }

  add(key: Key, member: Member): void {
    const group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, member);
    else if (typeof group === "string") this.#groups.set(key, new Set([group, member]));
    else group.add(member);
  }

  delete(key: Key, member: Member): void {
    const group = this.#groups.get(key);
    if (group === member) this.#groups.delete(key);
    else if (typeof group === "object" && group.delete(member) && group.size === 0) this.#groups.delete(key);
  }
}
