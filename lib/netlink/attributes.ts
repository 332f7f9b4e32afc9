/**
 * Netlink attributes, `struct nlattr` of include/uapi/linux/netlink.h: length, type and payload, padded to 4 bytes.
 *
 * Decode with a loop over offsets, which allocates nothing:
 *
 * ```ts
 * for (let at = start; at < end; at = nextAttribute(view, at, end)) {
 *   if (attributeType(view, at) === IFA_LOCAL) address = view.getUint32(payloadOf(at)); // network byte order
 * }
 * ```
 *
 * `DataView` reads network byte order by default; pass `true` for host byte order. Check the length before reading with
 * {@link requirePayload}, or let `DataView` throw a RangeError at the end of the buffer.
 */
import { GatewayError } from "../model/errors.ts";
import type { AddressValue, Family } from "../model/family.ts";

/** Bytes of `struct nlattr`. */
export const attributeHeader = 4;
/** NLA_F_NESTED. */
export const nestedFlag = 0x8000;
/** NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const typeMask = 0x3fff;

/** The type of the attribute at `at`, without its flags. */
export function attributeType(view: DataView, at: number): number {
  return view.getUint16(at + 2, true) & typeMask;
}

/** Where the payload of the attribute at `at` starts. */
export function payloadOf(at: number): number {
  return at + attributeHeader;
}

/**
 * Where the payload of the attribute at `at` ends, without padding.
 *
 * @param end where the enclosing message or attribute ends
 * @throws GatewayError `unreadable` if the attribute extends beyond `end`
 */
export function attributeEnd(view: DataView, at: number, end: number): number {
  const length = end - at < attributeHeader ? 0 : view.getUint16(at, true);
  if (length < attributeHeader || at + length > end) {
    throw new GatewayError("unreadable", `netlink attribute of ${length} bytes with ${end - at} left`);
  }
  return at + length;
}

/**
 * Where the attribute after the one at `at` starts. `end` or more after the last one. Throws like {@link attributeEnd}.
 */
export function nextAttribute(view: DataView, at: number, end: number): number {
  return (attributeEnd(view, at, end) + 3) & ~3;
}

/**
 * Where the payload of the attribute at `at` starts, after checking that it has `length` bytes.
 *
 * @throws GatewayError `unreadable` if it has fewer
 */
export function requirePayload(view: DataView, at: number, end: number, length: number): number {
  const start = payloadOf(at);
  if (attributeEnd(view, at, end) - start < length) {
    throw new GatewayError("unreadable", `netlink attribute ${attributeType(view, at)} is too short`);
  }
  return start;
}

/** The payload of a string attribute: Latin-1, up to its NUL. */
export function readText(view: DataView, start: number, end: number): string {
  let text = "";
  for (let at = start; at < end; at++) {
    const code = view.getUint8(at);
    if (code === 0) break;
    text += String.fromCharCode(code);
  }
  return text;
}

/** An attribute around raw bytes, padded. */
export function bytesAttribute(type: number, payload: Uint8Array): Uint8Array {
  const attribute = blank(type, payload.length);
  attribute.set(payload, attributeHeader);
  return attribute;
}

/**
 * An attribute around other attributes, with NLA_F_NESTED. An empty nest is allowed; check what it means to the kernel.
 */
export function nestedAttribute(type: number, ...children: readonly Uint8Array[]): Uint8Array {
  return bytesAttribute(type | nestedFlag, concatBytes(...children));
}

/** An attribute without payload: NLA_FLAG. */
export function flagAttribute(type: number): Uint8Array {
  return blank(type, 0);
}

export function u8Attribute(type: number, value: number): Uint8Array {
  const attribute = blank(type, 1);
  attribute[attributeHeader] = value;
  return attribute;
}

/** 16 bits in host byte order. */
export function u16Attribute(type: number, value: number): Uint8Array {
  const attribute = blank(type, 2);
  putU16(attribute, attributeHeader, value);
  return attribute;
}

/** 32 bits in host byte order. */
export function u32Attribute(type: number, value: number): Uint8Array {
  const attribute = new Uint8Array(u32AttributeBytes);
  putU32Attribute(attribute, 0, type, value);
  return attribute;
}

/** 16 bits in network byte order. */
export function netU16Attribute(type: number, value: number): Uint8Array {
  const attribute = blank(type, 2);
  attribute[attributeHeader] = value >>> 8;
  attribute[attributeHeader + 1] = value;
  return attribute;
}

/** 32 bits in network byte order. */
export function netU32Attribute(type: number, value: number): Uint8Array {
  const attribute = blank(type, 4);
  attribute[attributeHeader] = value >>> 24;
  attribute[attributeHeader + 1] = value >>> 16;
  attribute[attributeHeader + 2] = value >>> 8;
  attribute[attributeHeader + 3] = value;
  return attribute;
}

/** An address. */
export function addressAttribute(type: number, value: AddressValue, family: Family): Uint8Array {
  const attribute = blank(type, family.addressBytes);
  family.write(attribute, attributeHeader, value);
  return attribute;
}

/** A NUL-terminated string of Latin-1 characters. */
export function textAttribute(type: number, text: string): Uint8Array {
  const attribute = blank(type, text.length + 1);
  for (let index = 0; index < text.length; index++)
    attribute[attributeHeader + index] = text.charCodeAt(index);
  return attribute;
}

/** Joins a header and its attributes to a payload. */
export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Writes 16 bits in host byte order. Byte by byte, like all code that builds messages: an array of up to 64 bytes stays
 * in V8's own heap as long as no view is created over it, and a batch has tens of thousands of them.
 */
export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
}

/** Writes 32 bits in host byte order. */
export function putU32(bytes: Uint8Array, at: number, value: number): void {
  putU16(bytes, at, value);
  putU16(bytes, at + 2, value >>> 16);
}

/** Size of a 32-bit attribute. */
export const u32AttributeBytes = attributeHeader + 4;

/**
 * Writes what {@link u32Attribute} returns into `bytes`.
 * @returns where the next attribute goes
 */
export function putU32Attribute(bytes: Uint8Array, at: number, type: number, value: number): number {
  putU32(bytes, at, (type << 16) | u32AttributeBytes);
  putU32(bytes, at + attributeHeader, value);
  return at + u32AttributeBytes;
}

/** Size of an address attribute. */
export function addressAttributeBytes({ addressBytes }: Family): number {
  return attributeHeader + addressBytes;
}

/**
 * Writes what {@link addressAttribute} returns into `bytes`.
 * @returns where the next attribute goes
 */
export function putAddressAttribute(
  bytes: Uint8Array,
  at: number,
  type: number,
  value: AddressValue,
  family: Family,
): number {
  const length = addressAttributeBytes(family);
  putU32(bytes, at, (type << 16) | length);
  family.write(bytes, at + attributeHeader, value);
  return at + length;
}

function blank(type: number, payloadLength: number): Uint8Array {
  const length = attributeHeader + payloadLength;
  const attribute = new Uint8Array((length + 3) & ~3);
  putU16(attribute, 0, length);
  putU16(attribute, 2, type);
  return attribute;
}
