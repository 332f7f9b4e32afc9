/**
 * What decoders of filters have in common: TCA_ACT_* and `struct tc_u32_sel` of include/uapi/linux/pkt_cls.h. Other programs
 * install filters; the agent has none.
 */
import { attributeEnd, attributeType, nextAttribute, payloadOf, readText } from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { type Span, trafficMessage, trafficType } from "./traffic-control.ts";

/** The 32 bits at an offset of the network header, or of the header after it, which tc takes to be at 20. */
export interface U32Key {
  readonly offset: number;
  readonly mask: number;
  readonly value: number;
  /** True if another word of the packet is added to the offset. */
  readonly isMoving: boolean;
}

/** Bytes of `struct tc_u32_sel` before its keys. */
export const selectorBytes = 16;
const keyBytes = 16;
const actAttribute = { kind: 1, options: 2 } as const;

/** Requests the filters below a qdisc. The answer is empty where there is no such qdisc. */
export function dumpFilters(index: number, parent: number): NetlinkMessage {
  return trafficMessage(trafficType.getFilter, 0, { index, handle: 0, parent });
}

/** All whole keys behind the head of a selector of u32. Mask and value are in network byte order. */
export function u32KeysIn(view: DataView, start: number, end: number): readonly U32Key[] {
  const keys: U32Key[] = [];
  for (let at = start + selectorBytes; at + keyBytes <= end; at += keyBytes)
    keys.push({
      mask: view.getUint32(at),
      value: view.getUint32(at + 4),
      offset: view.getInt32(at + 8, true),
      isMoving: view.getInt32(at + 12, true) !== 0,
    });
  return keys;
}

/** One action of a filter. */
export interface ActionParts {
  /** Actions run in this order. */
  readonly order: number;
  /** `gact`, `mirred`, `police`. */
  readonly kind: string;
  readonly options: Span | undefined;
}

/** The actions in a filter's list, as they come. */
export function actionsIn(view: DataView, start: number, end: number): readonly ActionParts[] {
  const actions: ActionParts[] = [];
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const stop = attributeEnd(view, at, end);
    let kind = "";
    let options: Span | undefined;
    for (let part = payloadOf(at); part < stop; part = nextAttribute(view, part, stop)) {
      const span = [payloadOf(part), attributeEnd(view, part, stop)] as const;
      const type = attributeType(view, part);
      if (type === actAttribute.kind) kind = readText(view, ...span);
      else if (type === actAttribute.options) options = span;
    }
    actions.push({ order: attributeType(view, at), kind, options });
  }
  return actions;
}
