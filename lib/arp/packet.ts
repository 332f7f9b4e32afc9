/**
 * ARP for IPv4 over Ethernet (RFC 826), as bytes and as values: the packet without its Ethernet header, which a
 * datagram packet socket adds and takes off.
 */
import type { Ip } from "../model/ip.ts";
import { fromU32, toU32 } from "../model/ipv4.ts";

declare const brand: unique symbol;

/** An Ethernet address in lower case, `"0a:00:27:00:00:01"`. */
export type Mac = string & { readonly [brand]: "Mac" };

export interface ArpPacket {
  readonly operation: "request" | "reply";
  readonly senderMac: Mac;
  readonly senderIp: Ip;
  readonly targetMac: Mac;
  readonly targetIp: Ip;
}

/** Bytes of a packet; what arrives may be longer, padded to the least Ethernet payload. */
export const arpPacketBytes = 28;

/** 0.0.0.0: the sender of a probe, which claims nothing. */
export const unspecified = fromU32(0);
const noMac = "00:00:00:00:00:00" as Mac;

const macRegex = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;

/** Parses six bytes in hexadecimal; `undefined` where the text is anything else, or no station's: all zero, or a group's. */
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
 * Tells all hosts that `mac` holds `address`: an announcement (RFC 5227 §2.3) and the same as a reply, since some
 * hosts update their cache on the one only, some on the other. Linux takes the reply only with the sender's MAC as target.
 */
export function announcementsOf(mac: Mac, address: Ip): readonly [request: ArpPacket, reply: ArpPacket] {
  const claim = { senderMac: mac, senderIp: address, targetIp: address };
  return [
    { ...claim, operation: "request", targetMac: noMac },
    { ...claim, operation: "reply", targetMac: mac },
  ];
}

/**
 * The address that a packet's sender holds or is about to take: its own, or the one that it probes for. Whoever
 * probes for that address himself has found a conflict (RFC 5227 §2.1.1). `undefined` where it claims none.
 */
export function claimOf(packet: ArpPacket): Ip | undefined {
  if (packet.senderIp !== unspecified) return packet.senderIp;
  return packet.operation === "request" && packet.targetIp !== unspecified ? packet.targetIp : undefined;
}

/**
 * The address that a packet says its sender holds, in answer to a {@link probeOf} from `asker`; `undefined` where it is no such
 * answer. An announcement is none: it only repeats a claim.
 */
export function answerOf({ operation, senderIp, targetMac }: ArpPacket, asker: Mac): Ip | undefined {
  return operation === "reply" && targetMac === asker && senderIp !== unspecified ? senderIp : undefined;
}

/** Hardware Ethernet, protocol IPv4, addresses of 6 and 4 bytes: how each packet begins. */
const prefix = [0, 1, 0x08, 0x00, 6, 4] as const;
const operations = { request: 1, reply: 2 } as const;

/** The packet's {@link arpPacketBytes} bytes. */
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

/** Reads a packet; `undefined` where it is cut short, another protocol's or neither request nor reply. */
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
