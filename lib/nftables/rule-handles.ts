/**
 * Rule handles: numbers that the kernel assigns. A number identifies one rule of its table and is never reused. The
 * rule of a handle does not change while the generation of the ruleset stays the same.
 */
import {
  attributeType,
  bytesAttribute,
  concatBytes,
  nextAttribute,
  requirePayload,
  textAttribute,
} from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { headerBytes, inetHeader, messageType, ruleAttribute } from "./wire.ts";

/** A chain of family ip. */
export interface ChainPlace {
  readonly table: string;
  readonly chain: string;
}

/** 8 bytes in network byte order, as the kernel sends and expects them. */
export type RuleHandle = Uint8Array;

/** Requests the rules of a chain, in their order. */
export function dumpRules(place: ChainPlace): NetlinkMessage {
  return { type: messageType.getRule, flags: 0, payload: concatBytes(inetHeader, ...placeAttributes(place)) };
}

/** The handle of a dumped rule. `undefined` if there is none. Throws `unreadable` if it is truncated. */
export function readHandle(view: DataView, start: number, end: number): RuleHandle | undefined {
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== ruleAttribute.handle) continue;
    const from = requirePayload(view, at, end, handleBytes);
    return Uint8Array.from({ length: handleBytes }, (_, index) => view.getUint8(from + index));
  }
  return undefined;
}

/** Deletes a rule. The kernel refuses if it does not exist. */
export function deleteRule(place: ChainPlace, handle: RuleHandle): NetlinkMessage {
  const attributes = [...placeAttributes(place), bytesAttribute(ruleAttribute.handle, handle)];
  return { type: messageType.deleteRule, flags: 0, payload: concatBytes(inetHeader, ...attributes) };
}

const handleBytes = 8;

function placeAttributes({ table, chain }: ChainPlace): readonly Uint8Array[] {
  return [textAttribute(ruleAttribute.table, table), textAttribute(ruleAttribute.chain, chain)];
}
