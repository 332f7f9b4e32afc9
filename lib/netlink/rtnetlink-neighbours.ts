/** The neighbour table in rtnetlink(7): `struct ndmsg`, NDA_*, NUD_* and NTF_* of include/uapi/linux/neighbour.h. */
import { parseMac } from "../arp/packet.ts";
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import {
  addressAttribute,
  attributeEnd,
  attributeType,
  concatBytes,
  nextAttribute,
  payloadOf,
  putU32,
  requirePayload,
} from "./attributes.ts";
import { messageFlag, type NetlinkMessage } from "./message.ts";
import { readMac } from "./rtnetlink-links.ts";

/** RTM_NEWNEIGH: the answer to {@link encodeGetNeighbour}, and of a dump. */
export const newNeighbour = 28;
const getNeighbour = 30;

/** Size of `struct ndmsg`: family, three bytes of padding, interface, state, flags, type. */
const neighbourHeader = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NTF_USE = 1;
const NUD_INCOMPLETE = 0x01;
const NUD_FAILED = 0x20;
/** NUD_NOARP and NUD_PERMANENT. */
const fixedStates = 0xc0;

/**
 * `failed`: it did not answer. `unknown`: not asked yet, or no answer yet. `known`: it answered, maybe long ago. `fixed` with
 * a MAC: somebody entered it, and the kernel never asks.
 */
export type NeighbourState = "known" | "unknown" | "failed" | `fixed ${string}`;

/** Requests one entry. The kernel answers ENOENT if there is none. */
export function encodeGetNeighbour(index: number, address: Ip, family: Family): NetlinkMessage {
  return { type: getNeighbour, flags: 0, payload: payload(index, address, 0, family) };
}

/** Requests all entries of the family. */
export function dumpNeighbours({ number }: Family): NetlinkMessage {
  const header = new Uint8Array(neighbourHeader);
  header[0] = number;
  return { type: getNeighbour, flags: 0, payload: header };
}

/**
 * The address of an entry that somebody entered. `undefined` for any other: those with NUD_NOARP of groups, and of devices without
 * MACs, are the kernel's own.
 */
export function decodePermanent(
  view: DataView,
  start: number,
  end: number,
  { addressBytes, format, read }: Family,
): { readonly index: number; readonly address: Ip } | undefined {
  if (end - start < neighbourHeader || !(view.getUint16(start + 8, true) & fixedStates)) return undefined;
  const index = view.getUint32(start + 4, true);
  let address: Ip | undefined;
  let isOfHost = false;
  for (let at = start + neighbourHeader; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) === NDA_DST)
      address = format(read(view, requirePayload(view, at, end, addressBytes)));
    else if (attributeType(view, at) === NDA_LLADDR)
      isOfHost = parseMac(readMac(view, payloadOf(at), attributeEnd(view, at, end))) !== undefined;
  }
  return address === undefined || !isOfHost ? undefined : { index, address };
}

/** Makes the kernel act as for a packet to that neighbour: it resolves an unknown MAC, and confirms a stale one. */
export function encodeUseNeighbour(index: number, address: Ip, family: Family): NetlinkMessage {
  const flags = messageFlag.create | messageFlag.replace;
  return { type: newNeighbour, flags, payload: payload(index, address, NTF_USE, family) };
}

/** The state in an RTM_NEWNEIGH. */
export function decodeNeighbourState(view: DataView, start: number, end: number): NeighbourState {
  const state = end - start < neighbourHeader ? 0 : view.getUint16(start + 8, true);
  if (state & NUD_FAILED) return "failed";
  if (state === 0 || state & NUD_INCOMPLETE) return "unknown";
  for (let at = start + neighbourHeader; state & fixedStates && at < end; at = nextAttribute(view, at, end))
    if (attributeType(view, at) === NDA_LLADDR)
      return `fixed ${readMac(view, payloadOf(at), attributeEnd(view, at, end))}`;
  return "known";
}

function payload(index: number, address: Ip, flags: number, family: Family): Uint8Array {
  const header = new Uint8Array(neighbourHeader);
  header[0] = family.number;
  putU32(header, 4, index);
  header[10] = flags;
  return concatBytes(header, addressAttribute(NDA_DST, family.toValue(address), family));
}
