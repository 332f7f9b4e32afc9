/** Addresses in rtnetlink(7): `struct ifaddrmsg` and IFA_* of include/uapi/linux/if_addr.h. */
import type { AddressValue, Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import {
  addressAttribute,
  attributeEnd,
  attributeType,
  concatBytes,
  nextAttribute,
  payloadOf,
  putU32,
  readText,
  requirePayload,
} from "./attributes.ts";
import { messageFlag, type NetlinkMessage } from "./message.ts";

/** RTM_NEWADDR: adds an address; also the type of a dump's answers. */
export const newAddress = 20;
const deleteAddress = 21;
const getAddress = 22;

/** Bytes of `struct ifaddrmsg`: family, prefix length, flags, scope, interface index. */
const addressHeader = 8;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_F_SECONDARY = 0x01;

/** An address with the index of its interface instead of the name. */
export interface DecodedAddress {
  readonly index: number;
  readonly address: Ip;
  readonly prefixLength: number;
  readonly isSecondary: boolean;
  readonly label: string;
}

/** Requests all addresses of the family. */
export function dumpAddresses({ number }: Family): NetlinkMessage {
  return { type: getAddress, flags: 0, payload: Uint8Array.of(number, 0, 0, 0, 0, 0, 0, 0) };
}

/** Requests all addresses of all families. */
export function dumpAnyAddresses(): NetlinkMessage {
  return { type: getAddress, flags: 0, payload: new Uint8Array(addressHeader) };
}

/** Decodes the address of one RTM_NEWADDR, IPv4 or IPv6: of the latter all eight groups. */
export function decodeAnyAddress(
  view: DataView,
  start: number,
  end: number,
): { readonly index: number; readonly address: string } {
  let local: string | undefined;
  let peer = "";
  for (let at = start + addressHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    if (type === IFA_LOCAL) local = addressText(view, payloadOf(at), attributeEnd(view, at, end));
    else if (type === IFA_ADDRESS) peer = addressText(view, payloadOf(at), attributeEnd(view, at, end));
  }
  return { index: view.getUint32(start + 4, true), address: local ?? peer };
}

/** 4 or 16 bytes. */
function addressText(view: DataView, start: number, end: number): string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset + start, end - start);
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: bytes.length / 2 }, (_, group) => view.getUint16(start + 2 * group));
  return groups.map((group) => group.toString(16)).join(":");
}

/** Decodes one RTM_NEWADDR of the family. */
export function decodeAddress(
  view: DataView,
  start: number,
  end: number,
  { addressBytes, format, read, zero }: Family,
): DecodedAddress {
  let local: AddressValue | undefined;
  let peer = zero;
  let label = "";
  for (let at = start + addressHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    if (type === IFA_LOCAL) local = read(view, requirePayload(view, at, end, addressBytes));
    else if (type === IFA_ADDRESS) peer = read(view, requirePayload(view, at, end, addressBytes));
    else if (type === IFA_LABEL) label = readText(view, payloadOf(at), attributeEnd(view, at, end));
  }
  return {
    index: view.getUint32(start + 4, true),
    // On a point-to-point link IFA_ADDRESS is the address of the peer.
    address: format(local ?? peer),
    prefixLength: view.getUint8(start + 1),
    isSecondary: (view.getUint8(start + 2) & IFA_F_SECONDARY) !== 0,
    label,
  };
}

/** Adds a plain address, like `ip address add`: scope global, no own label, no broadcast address. */
export function encodeAddAddress(
  index: number,
  address: Ip,
  prefixLength: number,
  family: Family,
): NetlinkMessage {
  const flags = messageFlag.create | messageFlag.exclusive;
  return { type: newAddress, flags, payload: addressPayload(index, address, prefixLength, family) };
}

/** Removes exactly this address. The same IP with another prefix length stays. */
export function encodeRemoveAddress(
  index: number,
  address: Ip,
  prefixLength: number,
  family: Family,
): NetlinkMessage {
  return { type: deleteAddress, flags: 0, payload: addressPayload(index, address, prefixLength, family) };
}

function addressPayload(index: number, address: Ip, prefixLength: number, family: Family): Uint8Array {
  const header = Uint8Array.of(family.number, prefixLength, 0, 0, 0, 0, 0, 0);
  putU32(header, 4, index);
  const value = family.toValue(address);
  return concatBytes(
    header,
    addressAttribute(IFA_LOCAL, value, family),
    addressAttribute(IFA_ADDRESS, value, family),
  );
}
