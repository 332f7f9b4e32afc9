/**
 * Who clashes with whom. Greedy, in order of creation: the elder stays, the younger is marked, and a marked object takes
 * nothing from others. The result depends on the stored set and the facts alone, never on the order of writes that
 * led to it (beyond the creation numbers that they left).
 *
 * Objects of one kind clash over one identity, and nothing else: a write can be judged on the identities that it touches.
 */
import { type Chunked, runSync } from "../chunked.ts";
import { type Clash, type ClashContext, clashContext } from "../kinds/clash.ts";
import type { Facts } from "../kinds/facts.ts";
import { recordOf } from "../kinds/registry.ts";
import { type Kind, kinds, type ObjectId } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import { type DesiredObjects, objectsOf } from "../state/desired.ts";

/** The part of the desired set that clashes are judged on. */
export type Claimants = DesiredObjects & { readonly gateway: Gateway };

/** Every object that is marked, with what it clashes with. Linear in the number of objects. */
export function findClashes(desired: Claimants, facts: Facts): ReadonlyMap<ObjectId, Clash> {
  return runSync(findClashesChunked(desired, facts));
}

/** Some milliseconds' worth of objects. */
const judgedAtOnce = 5_000;

/** The same in parts. */
export function* findClashesChunked(desired: Claimants, facts: Facts): Chunked<ReadonlyMap<ObjectId, Clash>> {
  const clashes = new Map<ObjectId, Clash>();
  const context = clashContext(desired.gateway, facts);
  for (const kind of kinds) yield* markKind(kind, desired, context, clashes);
  return clashes;
}

function* markKind<K extends Kind>(
  kind: K,
  desired: DesiredObjects,
  context: ClashContext,
  clashes: Map<ObjectId, Clash>,
): Chunked<void> {
  const record = recordOf(kind);
  const holders = new Map<string, ObjectId>();
  const objects = record.parseAll(objectsOf(desired, kind));
  for (const [index, object] of objects.entries()) {
    if (index % judgedAtOnce === judgedAtOnce - 1) yield;
    const identity = object.identity ?? record.identity(object.spec, context);
    const holder = holders.get(identity);
    const clash =
      record.obstacle?.(object, context) ??
      (holder && { with: holder, message: `${record.holding(object.spec)} ${holder}` });
    if (clash === undefined) holders.set(identity, object.id);
    else clashes.set(object.id, clash);
  }
}
