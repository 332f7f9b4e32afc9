/**
 * The frame of every netlink message, `struct nlmsghdr` of include/uapi/linux/netlink.h, and the kernel's control
 * messages: acknowledgement, error and end of a dump.
 *
 * A buffer is read through one `DataView` at offsets, so a dump of 200,000 messages creates no object per message.
 * Numbers are in host byte order, which is little-endian on every supported machine.
 */
import { GatewayError } from "../model/errors.ts";
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "./attributes.ts";

/** Bytes of `struct nlmsghdr`. */
export const headerLength = 16;

/** NLMSG_*: message types below 16 belong to netlink itself. */
export const controlType = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

/** NLM_F_*: for requests, for answers, for NEW requests. */
export const messageFlag = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  /** NLM_F_DUMP_INTR: the table changed during the dump; what was read is inconsistent. */
  dumpInterrupted: 0x10,
  /** NLM_F_ROOT | NLM_F_MATCH. */
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  /** NLM_F_CAPPED: an error carries only the header of the message it answers. */
  capped: 0x100,
  /** NLM_F_ACK_TLVS: extended acknowledgement attributes follow. */
  ackAttributes: 0x200,
} as const;

/** One request, without what the connection adds: length, sequence number, port and the flags REQUEST and ACK. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  /** Complete attributes after the header of the netlink family, each padded to 4 bytes. */
  readonly payload: Uint8Array;
}

/** The result of a request, as the kernel reports it. */
export interface Acknowledgement {
  /** A positive errno. 0 is success. */
  readonly errno: number;
  /** The kernel's error text (NLMSGERR_ATTR_MSG). Empty if it gave none. */
  readonly text: string;
}

/** Called for each message. The payload is `view` from `start` to `end`, valid only until the call returns. */
export type MessageVisitor = (header: MessageHeader, view: DataView, start: number, end: number) => void;

export interface MessageHeader {
  type: number;
  flags: number;
  sequence: number;
  port: number;
}

/**
 * Visits the messages in the first `length` bytes of `view`, in order. The header object is reused.
 *
 * @throws GatewayError `unreadable` if a message extends beyond the end
 */
export function forEachMessage(view: DataView, length: number, visit: MessageVisitor): void {
  const header: MessageHeader = { type: 0, flags: 0, sequence: 0, port: 0 };
  for (let at = 0; at < length; ) {
    const size = length - at < headerLength ? 0 : view.getUint32(at, true);
    if (size < headerLength || at + size > length) {
      throw new GatewayError("unreadable", `netlink message of ${size} bytes with ${length - at} left`);
    }
    header.type = view.getUint16(at + 4, true);
    header.flags = view.getUint16(at + 6, true);
    header.sequence = view.getUint32(at + 8, true);
    header.port = view.getUint32(at + 12, true);
    visit(header, view, at + headerLength, at + size);
    at += align(size);
  }
}

/**
 * Encodes requests one after the other, numbered from `firstSequence` upwards (wrapping at 2^32). Adds NLM_F_REQUEST
 * and `extraFlags` to each.
 */
export function encodeMessages(
  messages: readonly NetlinkMessage[],
  firstSequence: number,
  extraFlags: number,
): Uint8Array {
  const bytes = new Uint8Array(messages.reduce((sum, message) => sum + encodedLength(message), 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  messages.forEach((message, index) => {
    view.setUint32(at, headerLength + message.payload.length, true);
    view.setUint16(at + 4, message.type, true);
    view.setUint16(at + 6, message.flags | messageFlag.request | extraFlags, true);
    view.setUint32(at + 8, firstSequence + index, true);
    bytes.set(message.payload, at + headerLength);
    at += encodedLength(message);
  });
  return bytes;
}

/** Size of a request in a batch, in bytes. */
export function encodedLength(message: NetlinkMessage): number {
  return align(headerLength + message.payload.length);
}

/** Parses the payload of NLMSG_ERROR: `struct nlmsgerr`, then the request or its header, then attributes. */
export function parseAcknowledgement(
  view: DataView,
  flags: number,
  start: number,
  end: number,
): Acknowledgement {
  if (end - start < 4 + headerLength)
    throw new GatewayError("unreadable", "netlink acknowledgement is too short");
  const errno = -view.getInt32(start, true);
  if ((flags & messageFlag.ackAttributes) === 0) return { errno, text: "" };
  const requestLength = flags & messageFlag.capped ? headerLength : view.getUint32(start + 4, true);
  return { errno, text: acknowledgementText(view, start + 4 + align(requestLength), end) };
}

/**
 * The offset of the attribute at fault in the refused request, counted from its header (NLMSGERR_ATTR_OFFS).
 * `undefined` if the kernel does not say. Takes the same arguments as {@link parseAcknowledgement}.
 */
export function parseErrorOffset(
  view: DataView,
  flags: number,
  start: number,
  end: number,
): number | undefined {
  if ((flags & messageFlag.ackAttributes) === 0) return undefined;
  const requestLength = flags & messageFlag.capped ? headerLength : view.getUint32(start + 4, true);
  for (let at = start + 4 + align(requestLength); at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) === attrOffset) return view.getUint32(requirePayload(view, at, end, 4), true);
  }
  return undefined;
}

/** Parses the payload of NLMSG_DONE: the result of the dump, then attributes. */
export function parseDone(view: DataView, flags: number, start: number, end: number): Acknowledgement {
  if (end - start < 4) return { errno: 0, text: "" };
  const errno = -view.getInt32(start, true);
  if ((flags & messageFlag.ackAttributes) === 0) return { errno, text: "" };
  return { errno, text: acknowledgementText(view, start + 4, end) };
}

/** NLMSGERR_ATTR_MSG and _OFFS of `enum nlmsgerr_attrs`. */
const attrMessage = 1;
const attrOffset = 2;

function acknowledgementText(view: DataView, start: number, end: number): string {
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== attrMessage) continue;
    return readText(view, payloadOf(at), attributeEnd(view, at, end));
  }
  return "";
}

function align(length: number): number {
  return (length + 3) & ~3;
}
