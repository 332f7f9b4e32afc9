/**
 * ARP for IPv4 over Ethernet (RFC 826), as bytes and as values. Packets have no Ethernet header: a datagram packet
 * socket adds and removes it.
 */
import type { Ip } from "../model/ip.ts";
import { fromU32, toU32 } from "../model/ipv4.ts";

declare const brand: unique symbol;

/** An Ethernet address in lower case: `"0a:00:27:00:00:01"`. */
export type Mac = string & { readonly [brand]: "Mac" };

export interface ArpPacket {
  readonly operation: "request" | "reply";
  readonly senderMac: Mac;
  readonly senderIp: Ip;
  readonly targetMac: Mac;
  readonly targetIp: Ip;
}

/** Bytes of a packet. A received one may be longer, padded to the minimum Ethernet payload. */
export const arpPacketBytes = 28;

/** 0.0.0.0: the sender address of a probe, which claims nothing. */
export const unspecified = fromU32(0);
const noMac = "00:00:00:00:00:00" as Mac;

const macRegex = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

/** Parses an address of a host. `undefined` if the text is not six hex bytes, is all zero or is a multicast address. */
export function parseMac(text: string): Mac | undefined {
  const mac = text.toLowerCase();
  const isStation = macRegex.test(mac) && mac !== noMac && (Number.parseInt(mac.slice(0, 2), 16) & 1) === 0;
  return isStation ? (mac as Mac) : undefined;
}

/** Asks whether another host holds `address`, without claiming it (RFC 5227 §2.1.1). */
export function probeOf(mac: Mac, address: Ip): ArpPacket {
  return { operation: "request", senderMac: mac, senderIp: unspecified, targetMac: noMac, targetIp: address };
}

/**
 * Tells all hosts that `mac` holds `address`: an announcement (RFC 5227 §2.3) and the same as a reply. Some hosts
 * update their cache only on requests, others only on replies. Linux accepts the reply only with the sender's MAC as
 * target.
 */
export function announcementsOf(mac: Mac, address: Ip): readonly [request: ArpPacket, reply: ArpPacket] {
  const claim = { senderMac: mac, senderIp: address, targetIp: address };
  return [
    { ...claim, operation: "request", targetMac: noMac },
    { ...claim, operation: "reply", targetMac: mac },
  ];
}

/**
 * The address that the sender of a packet holds or is about to take: its own address, or the one it probes for. If both
 * hosts probe for the same address, that is a conflict too (RFC 5227 §2.1.1). `undefined` if the packet claims none.
 */
export function claimOf(packet: ArpPacket): Ip | undefined {
  if (packet.senderIp !== unspecified) return packet.senderIp;
  return packet.operation === "request" && packet.targetIp !== unspecified ? packet.targetIp : undefined;
}

/**
 * The address that the sender of a packet says it holds, in reply to a {@link probeOf} from `asker`. `undefined` if it
 * is not such a reply. An announcement is not: it only repeats a claim.
 */
export function answerOf({ operation, senderIp, targetMac }: ArpPacket, asker: Mac): Ip | undefined {
  return operation === "reply" && targetMac === asker && senderIp !== unspecified ? senderIp : undefined;
}

/** Hardware type Ethernet, protocol IPv4, address lengths 6 and 4: the start of every packet. */
const prefix = [0, 1, 0x08, 0x00, 6, 4] as const;
const operations = { request: 1, reply: 2 } as const;

/** Encodes the packet as {@link arpPacketBytes} bytes. */
export function encodeArp(packet: ArpPacket): Uint8Array {
  const bytes = new Uint8Array(arpPacketBytes);
  const view = new DataView(bytes.buffer);
  bytes.set(prefix);
  view.setUint16(6, operations[packet.operation]);
  writeMac(bytes, 8, packet.senderMac);
  view.setUint32(14, toU32(packet.senderIp));
  writeMac(bytes, 18, packet.targetMac);
  view.setUint32(24, toU32(packet.targetIp));
  return bytes;
}

/** Decodes a packet. `undefined` if it is truncated, of another protocol, or neither request nor reply. */
export function decodeArp(bytes: Uint8Array): ArpPacket | undefined {
  if (bytes.length < arpPacketBytes || prefix.some((byte, index) => bytes[index] !== byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const code = view.getUint16(6);
  if (code !== operations.request && code !== operations.reply) return undefined;
  return {
    operation: code === operations.request ? "request" : "reply",
    senderMac: readMac(bytes, 8),
    senderIp: fromU32(view.getUint32(14)),
    targetMac: readMac(bytes, 18),
    targetIp: fromU32(view.getUint32(24)),
  };
}

function writeMac(bytes: Uint8Array, offset: number, mac: Mac): void {
  for (let index = 0; index < 6; index++) {
    bytes[offset + index] = Number.parseInt(mac.slice(index * 3, index * 3 + 2), 16);
  }
}

function readMac(bytes: Uint8Array, offset: number): Mac {
  const parts = Array.from(bytes.subarray(offset, offset + 6), (byte) => byte.toString(16).padStart(2, "0"));
  return parts.join(":") as Mac;
}
