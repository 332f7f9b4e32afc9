/**
 * Requests of ctnetlink: the conntrack table over NETLINK_NETFILTER, see
 * include/uapi/linux/netfilter/nfnetlink_conntrack.h and nfnetlink.h.
 *
 * To the kernel, a delete without a tuple means "flush": the whole table, or all entries of a family. The only encoder
 * of a delete here takes a {@link Flow}, writes its original tuple first, and refuses to return a message that does not
 * begin with one.
 *
 * A filter (CTA_FILTER) with zero flags or without any matches everything, and turns a delete with a tuple into a
 * flush. The only encoder of a filter here builds dumps, never deletes, and takes a {@link FlowEnd}: one address in one
 * place, so exactly one flag.
 */
import type { FlowEnd } from "../conntrack/ends.ts";
import type { Flow } from "../conntrack/flow.ts";
import type { Family } from "../model/family.ts";
import { AttributeWriter } from "./attribute-writer.ts";
import { addressAttribute, attributeType, concatBytes, nestedAttribute, u32Attribute } from "./attributes.ts";
import {
  CTA_FILTER,
  CTA_FILTER_IP_DST,
  CTA_FILTER_IP_SRC,
  CTA_FILTER_ORIG_FLAGS,
  CTA_FILTER_REPLY_FLAGS,
  CTA_ID,
  CTA_PROTO_DST_PORT,
  CTA_PROTO_NUM,
  CTA_PROTO_SRC_PORT,
  CTA_TUPLE_IP,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_PROTO,
  CTA_TUPLE_REPLY,
  CTA_ZONE,
} from "./ctnetlink-attributes.ts";
import type { NetlinkMessage } from "./message.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
/** `enum cntl_msg_types` of the subsystem. An entry of a dump has type NEW. */
const messageType = {
  new: (NFNL_SUBSYS_CTNETLINK << 8) | 0,
  get: (NFNL_SUBSYS_CTNETLINK << 8) | 1,
  delete: (NFNL_SUBSYS_CTNETLINK << 8) | 2,
} as const;

/** Requests every entry of the family. The sender adds NLM_F_DUMP. */
export function encodeDump(family: Family): NetlinkMessage {
  return { type: messageType.get, flags: 0, payload: family.netfilterHeader };
}

/**
 * Requests the entries of any zone with this one address. The sender adds NLM_F_DUMP. Kernels before 5.8 ignore the
 * filter and return every entry.
 */
export function encodeDumpOf({ tuple, side, address }: FlowEnd, family: Family): NetlinkMessage {
  const place = filterPlaces[tuple];
  const value = family.toValue(address);
  const addresses = nestedAttribute(CTA_TUPLE_IP, addressAttribute(family.conntrack[side], value, family));
  const payload = concatBytes(
    family.netfilterHeader,
    nestedAttribute(place.attribute, addresses),
    nestedAttribute(CTA_FILTER, u32Attribute(place.flags, filterFlags[side])),
  );
  return { type: messageType.get, flags: 0, payload };
}

const filterPlaces = {
  original: { attribute: CTA_TUPLE_ORIG, flags: CTA_FILTER_ORIG_FLAGS },
  reply: { attribute: CTA_TUPLE_REPLY, flags: CTA_FILTER_REPLY_FLAGS },
} as const;

const filterFlags = { source: CTA_FILTER_IP_SRC, destination: CTA_FILTER_IP_DST } as const;

/** True for the messages of a dump that hold an entry. */
export function isEntry(type: number): boolean {
  return type === messageType.new;
}

/** True for the event that an entry was removed. That of a new one {@link isEntry}, without NLM_F_DUMP in the request. */
export function isRemovedEntry(type: number): boolean {
  return type === messageType.delete;
}

/** `NFNLGRP_CONNTRACK_*` as bits of `nl_groups`. */
export const conntrackGroups = { new: 1 << 0, removed: 1 << 2 } as const;

/**
 * Deletes one entry, only while it still is that flow (CTA_ID). The kernel answers ENOENT if it is gone or replaced. A
 * successor in the same memory has the same id and is deleted instead. This costs little: its next packet creates it
 * again by the current rules.
 *
 * @throws TypeError for a flow that no kernel can have returned, because the message could mean more
 */
export function encodeDelete(flow: Flow, family: Family): NetlinkMessage {
  const { toValue, conntrack } = family;
  const message = new AttributeWriter(family.netfilterHeader, maxDeleteBytes + 2 * family.addressBytes);
  message.nested(CTA_TUPLE_ORIG, () => {
    message.nested(CTA_TUPLE_IP, () => {
      message.address(conntrack.source, toValue(flow.original.source), family);
      message.address(conntrack.destination, toValue(flow.original.destination), family);
    });
    message.nested(CTA_TUPLE_PROTO, () => writeProtocol(message, flow, family));
  });
  if (flow.zone !== 0) message.netU16(CTA_ZONE, flow.zone);
  message.netU32(CTA_ID, flow.id);
  return { type: messageType.delete, flags: 0, payload: requireTuple(message.payload(), flow, family) };
}

/** The header and the tuple of an ICMP flow without its addresses (56 bytes together), then a zone and an id. */
const maxDeleteBytes = 72;

function writeProtocol(
  message: AttributeWriter,
  { protocol, original, icmp }: Flow,
  { conntrack }: Family,
): void {
  message.u8(CTA_PROTO_NUM, protocol);
  if (icmp === undefined) {
    message.netU16(CTA_PROTO_SRC_PORT, original.sourcePort);
    message.netU16(CTA_PROTO_DST_PORT, original.destinationPort);
  } else {
    message.netU16(conntrack.icmpId, icmp.id);
    message.u8(conntrack.icmpType, icmp.type);
    message.u8(conntrack.icmpCode, icmp.code);
  }
}

/** Final check of the bytes, against the one mistake that would flush the table. */
function requireTuple(payload: Uint8Array, flow: Flow, { netfilterHeader }: Family): Uint8Array {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const isTuple = attributeType(view, netfilterHeader.length) === CTA_TUPLE_ORIG;
  if (!isTuple || !(flow.protocol > 0 && flow.protocol < 256)) {
    throw new TypeError(`cannot delete this flow: ${JSON.stringify(flow)}`);
  }
  return payload;
}
