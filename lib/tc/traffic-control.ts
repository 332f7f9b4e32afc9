/** What all messages of traffic control have: `struct tcmsg` and TCA_* of include/uapi/linux/rtnetlink.h. */
import {
  attributeEnd,
  attributeType,
  concatBytes,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";

/** RTM_*: NEW is also the type of a dump's answers. */
export const trafficType = {
  newQdisc: 36,
  deleteQdisc: 37,
  getQdisc: 38,
  newClass: 40,
  deleteClass: 41,
  getClass: 42,
  newFilter: 44,
  getFilter: 46,
} as const;

export const trafficAttribute = { kind: 1, options: 2, statistics: 7, chain: 11 } as const;

/** Bytes of `struct tcmsg`: family, padding, interface index, handle, parent, info. */
export const trafficHeader = 20;

/** The place of a qdisc or class. */
export interface Place {
  /** The interface's index. */
  readonly index: number;
  readonly handle: number;
  readonly parent: number;
}

export function trafficMessage(
  type: number,
  flags: number,
  { index, handle, parent }: Place,
  ...attributes: readonly Uint8Array[]
): NetlinkMessage {
  const header = new Uint8Array(trafficHeader);
  const view = new DataView(header.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, handle, true);
  view.setUint32(12, parent, true);
  return { type, flags, payload: concatBytes(header, ...attributes) };
}

/** Reads `struct tcmsg`. */
export function readPlace(view: DataView, start: number): Place {
  return {
    index: view.getInt32(start + 4, true),
    handle: view.getUint32(start + 8, true),
    parent: view.getUint32(start + 12, true),
  };
}

/** Where something begins and ends in a message. */
export type Span = readonly [start: number, end: number];

/** A message about a qdisc or a filter. */
export interface TrafficObject extends Place {
  /** The last field of `struct tcmsg`. */
  readonly info: number;
  /** `htb`, `u32`. */
  readonly kind: string;
  readonly options: Span | undefined;
  /** TCA_STATS2. */
  readonly statistics: Span | undefined;
  /** Of filters: the chain that they are in. Packets enter chain 0. */
  readonly chain: number;
}

/** Reads the header, and where the options are that its kind has. */
export function readObject(view: DataView, start: number, end: number): TrafficObject {
  let kind = "";
  let options: Span | undefined;
  let statistics: Span | undefined;
  let chain = 0;
  for (let at = start + trafficHeader; at < end; at = nextAttribute(view, at, end)) {
    const span = [payloadOf(at), attributeEnd(view, at, end)] as const;
    const type = attributeType(view, at);
    if (type === trafficAttribute.kind) kind = readText(view, ...span);
    else if (type === trafficAttribute.options) options = span;
    else if (type === trafficAttribute.statistics) statistics = span;
    else if (type === trafficAttribute.chain) chain = view.getUint32(requirePayload(view, at, end, 4), true);
  }
  const info = view.getUint32(start + 16, true);
  return { ...readPlace(view, start), info, kind, options, statistics, chain };
}
