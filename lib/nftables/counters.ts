/** What counters have counted that rules name. */
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "../netlink/attributes.ts";
import { apiCounter } from "./api-guard.ts";
import type { Counted } from "./definition-messages.ts";
import { type DropCounter, dropCounters } from "./filter-tables.ts";
import { policyCounters } from "./qos.ts";
import { counterAttribute, familyNumber, headerBytes, messageType, objectAttribute } from "./wire.ts";

const names: ReadonlySet<string> = new Set([
  ...Object.values(dropCounters).flat(),
  apiCounter,
  ...policyCounters,
]);

/** Takes a message of a dump of objects into `counts`, where it is one of our counters in that table. */
export function readCounters(
  type: number,
  view: DataView,
  start: number,
  end: number,
  table: string,
  counts: Map<DropCounter, Counted>,
  family = familyNumber,
): void {
  if (type !== messageType.newObject || view.getUint8(start) !== family) return;
  let [place, name] = ["", ""];
  let [packets, bytes] = [0, 0];
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end)) {
    const [from, to] = [payloadOf(at), attributeEnd(view, at, end)];
    const attribute = attributeType(view, at);
    if (attribute === objectAttribute.table) place = readText(view, from, to);
    else if (attribute === objectAttribute.name) name = readText(view, from, to);
    else if (attribute === objectAttribute.data)
      for (let leaf = from; leaf < to; leaf = nextAttribute(view, leaf, to)) {
        if (attributeType(view, leaf) === counterAttribute.packets) packets = numberAt(view, leaf, to);
        if (attributeType(view, leaf) === counterAttribute.bytes) bytes = numberAt(view, leaf, to);
      }
  }
  if (place === table && names.has(name)) counts.set(name as DropCounter, { packets, bytes });
}

function numberAt(view: DataView, at: number, end: number): number {
  return Number(view.getBigUint64(requirePayload(view, at, end, 8)));
}
