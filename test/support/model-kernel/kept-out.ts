/** What can never be programmed, whatever the agent does. */
import { kinds, type ObjectId, objectId } from "../../../lib/model/names.ts";
import { type Desired, objectsOf } from "../../../lib/state/desired.ts";
import type { Strangers } from "./drift.ts";

/**
 * @param refused rules whose text matches are refused by the kernel
 * @param hasAffinity false: the kernel cannot choose backends by the client's address
 */
export function keptOut(
  desired: Desired,
  strangers: Strangers,
  refused: RegExp | undefined,
  hasAffinity: boolean,
): ReadonlySet<ObjectId> {
  const kept = new Set<ObjectId>();
  for (const kind of kinds)
    for (const [name, { spec }] of objectsOf(desired, kind))
      if (refused?.test(JSON.stringify(spec)) === true) kept.add(objectId(kind, name));
  if (!hasAffinity)
    for (const [name, { spec }] of desired.dnats)
      if (spec.sessionAffinity === "ClientIP" && spec.backends?.length !== 0)
        kept.add(objectId("dnat", name));
  for (const [name, { spec }] of desired.routes) {
    const foreign = strangers.routes.find(({ destination }) => destination === spec.destination);
    const isTaken = foreign !== undefined && foreign.via !== spec.via;
    if (spec.via === "10.9.9.9" || isTaken) kept.add(objectId("route", name));
  }
  return kept;
}
