/**
 * The part of the desired set that a change of some FIPs and DNATs can affect. It can be compiled and planned
 * separately with the same functions, at a cost that does not depend on the size of the whole set.
 *
 * An object affects its Eip, the users of that Eip, and the objects of its kind with the same `couplingKey`: Eips of one IP,
 * FIPs of one internal IP. A set that is closed under these three relations compiles to the same result separately as
 * inside the whole set. Kinds without a `couplingKey` (SNATs, Routes) affect no FIP and no DNAT and are left out.
 */

import { type Chunked, forEachChunked } from "../chunked.ts";
import { Groups } from "../groups.ts";
import { recordOf, type Spec } from "../kinds/registry.ts";
import { type Kind, kinds, type ObjectId, type ObjectName, objectId, parseObjectId } from "../model/names.ts";
import { type Desired, type FoundObject, findObject, makeObjects, objectsOf } from "../state/desired.ts";

/** Takes a few milliseconds. */
const notedAtOnce = 2_000;

/** Which objects affect which. Updated change by change. */
export class AffectedSet {
  readonly #users = new Groups<ObjectId>();
  /** Users of Eips of the kinds that are left out. */
  readonly #others = new Groups<ObjectId>();
  readonly #coupled = new Map<Kind, Groups<ObjectId>>(coupledKinds.map((kind) => [kind, new Groups()]));

  /** In parts. */
  static *of(desired: Desired): Chunked<AffectedSet> {
    const set = new AffectedSet();
    for (const kind of kinds)
      yield* forEachChunked<{ readonly spec: Spec }>(
        objectsOf(desired, kind).values(),
        notedAtOnce,
        ({ spec }) => set.#change("add", kind, spec),
      );
    return set;
  }

  /** Records how `ids` changed between two sets. */
  update(before: Desired, after: Desired, ids: Iterable<ObjectId>): void {
    for (const id of ids) {
      const was = findObject(before, id);
      const is = findObject(after, id);
      if (was !== undefined) this.#change("delete", was.kind, was.stored.spec);
      if (is !== undefined) this.#change("add", is.kind, is.stored.spec);
    }
  }

  /**
   * The ids that `ids` affect in any of `sets`, including themselves. `undefined` if there are more than `limit`. Every
   * one of `sets` must have been followed, the last one last.
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
        const object = findObject(set, id);
        if (object !== undefined) for (const other of this.#affectedBy(object)) found.add(other);
      }
    }
    return found;
  }

  /** True if an object of a kind that is left out refers to an Eip of `ids`: any change of the Eip affects it. */
  hasOtherUsers(ids: Iterable<ObjectId>): boolean {
    for (const id of ids) {
      const { kind, name } = parseObjectId(id);
      if (kind === "eip") for (const _ of this.#others.of(name)) return true;
    }
    return false;
  }

  *#affectedBy({ kind, stored: { spec } }: FoundObject): Generator<ObjectId> {
    const { eipOf, couplingKey } = recordOf(kind);
    const coupled = couplingKey?.(spec);
    if (coupled !== undefined) yield* this.#coupled.get(kind)?.of(coupled) ?? [];
    const eip = kind === "eip" ? spec.name : eipOf?.(spec);
    if (eip === undefined) return;
    yield objectId("eip", eip);
    yield* this.#users.of(eip);
  }

  #change(action: "add" | "delete", kind: Kind, spec: Spec): void {
    const coupled = this.#coupled.get(kind);
    const { eipOf, couplingKey } = recordOf(kind);
    const id = objectId(kind, spec.name);
    const key = couplingKey?.(spec);
    if (key !== undefined) coupled?.[action](key, id);
    const eip = eipOf?.(spec);
    if (eip !== undefined) (coupled === undefined ? this.#others : this.#users)[action](eip, id);
  }
}

/** The kinds of which a part can be compiled separately. */
const coupledKinds = kinds.filter((kind) => recordOf(kind).couplingKey !== undefined);

/** The set with only those objects of `ids` whose kinds can be compiled separately, in order of creation. */
export function restrictTo(desired: Desired, ids: ReadonlySet<ObjectId>): Desired {
  const namesByKind = new Map<Kind, ObjectName[]>(coupledKinds.map((kind) => [kind, []]));
  for (const id of ids) {
    const { kind, name } = parseObjectId(id);
    namesByKind.get(kind)?.push(name);
  }
  return {
    ...desired,
    ...makeObjects((kind) => pick(objectsOf(desired, kind), namesByKind.get(kind) ?? [])),
  };
}

function pick<T extends { readonly creation: number }>(
  objects: ReadonlyMap<ObjectName, T>,
  names: readonly ObjectName[],
): ReadonlyMap<ObjectName, T> {
  const picked: [ObjectName, T][] = [];
  for (const name of names) {
    const object = objects.get(name);
    if (object !== undefined) picked.push([name, object]);
  }
  return new Map(picked.sort(([, one], [, other]) => one.creation - other.creation));
}
