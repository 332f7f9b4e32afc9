/**
 * Finds clashes. Greedy, in order of creation: the older object stays, the newer one is marked, and a marked object
 * takes nothing from others. The result depends only on the stored set (with its creation numbers) and the facts, not
 * on the order of earlier writes.
 *
 * Objects of one kind clash only over their identity, so a write can be judged by the identities that it touches.
 */
import { type Chunked, runSync } from "../chunked.ts";
import { type Clash, type ClashContext, clashContext } from "../kinds/clash.ts";
import type { Facts } from "../kinds/facts.ts";
import { recordOf } from "../kinds/registry.ts";
import { type Kind, kinds, type ObjectId } from "../model/names.ts";
import type { Gateway } from "../model/schema.ts";
import { type DesiredObjects, objectsOf } from "../state/desired.ts";

/** The part of the desired set that decides clashes. */
export type Claimants = DesiredObjects & { readonly gateway: Gateway };

/** Every object that clashes, with what it clashes with. Linear in the number of objects. */
export function findClashes(desired: Claimants, facts: Facts): ReadonlyMap<ObjectId, Clash> {
  return runSync(findClashesChunked(desired, facts));
}

/** Takes a few milliseconds. */
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
  const objects = yield* record.parseAll(objectsOf(desired, kind));
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
