/**
 * Rules by their handles: numbers that the kernel gives them, each to one rule of its table and never again. What a rule of
 * a handle says does not change while the ruleset's generation does not.
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

/** A chain of the family ip. */
export interface ChainPlace {
  readonly table: string;
  readonly chain: string;
}

/** 8 bytes in network order, as the kernel tells them and wants them back. */
export type RuleHandle = Uint8Array;

/** Asks for the rules of a chain, in their order. */
export function dumpRules(place: ChainPlace): NetlinkMessage {
  return { type: messageType.getRule, flags: 0, payload: concatBytes(inetHeader, ...placeAttributes(place)) };
}

/** The handle of a dumped rule. Throws `unreadable` where it is cut; `undefined` where there is none. */
export function readHandle(view: DataView, start: number, end: number): RuleHandle | undefined {
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== ruleAttribute.handle) continue;
    const from = requirePayload(view, at, end, handleBytes);
    return Uint8Array.from({ length: handleBytes }, (_, index) => view.getUint8(from + index));
  }
  return undefined;
}

/** The kernel refuses where there is no such rule. */
export function deleteRule(place: ChainPlace, handle: RuleHandle): NetlinkMessage {
  const attributes = [...placeAttributes(place), bytesAttribute(ruleAttribute.handle, handle)];
  return { type: messageType.deleteRule, flags: 0, payload: concatBytes(inetHeader, ...attributes) };
}

const handleBytes = 8;

function placeAttributes({ table, chain }: ChainPlace): readonly Uint8Array[] {
  return [textAttribute(ruleAttribute.table, table), textAttribute(ruleAttribute.chain, chain)];
}
