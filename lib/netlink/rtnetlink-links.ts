/** Links in rtnetlink(7): `struct ifinfomsg` and IFLA_* of include/uapi/linux/if_link.h. */
import type { Family } from "../model/family.ts";
import { parseInterfaceName } from "../model/names.ts";
import type { DeviceSetting, ObservedLink } from "../model/observed.ts";
import {
  attributeEnd,
  attributeType,
  concatBytes,
  nestedAttribute,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
  u32Attribute,
} from "./attributes.ts";
import type { NetlinkMessage } from "./message.ts";

/** RTM_NEWLINK: the type of a dump's answers. */
export const newLink = 16;
const delLink = 17;
const getLink = 18;
const setLink = 19;

/** Bytes of `struct ifinfomsg`: family, padding, device type, index, flags, mask of flags to change. */
export const linkHeader = 16;

const IFLA_ADDRESS = 1;
export const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_MACVLAN_MODE = 1;
const MACVLAN_MODE_PASSTHRU = 8;
const IFLA_AF_SPEC = 26;
const IFLA_EXT_MASK = 29;
const IFLA_LINK_NETNSID = 37;
const RTEXT_FILTER_SKIP_STATS = 8;
const IFF_UP = 0x1;
const IFF_NOARP = 0x80;
const IFF_LOWER_UP = 0x10000;

export interface DecodedLink {
  readonly link: ObservedLink;
  /** A setting of the device. `undefined` if the device does not have the family. */
  setting(name: DeviceSetting): number | undefined;
}

/** Requests all links, without their counters. */
export function dumpLinks(): NetlinkMessage {
  const payload = concatBytes(
    new Uint8Array(linkHeader),
    u32Attribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS),
  );
  return { type: getLink, flags: 0, payload };
}

/** Requests one link, without its counters. */
export function readLink(index: number): NetlinkMessage {
  const payload = concatBytes(linkHeaderOf(index), u32Attribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS));
  return { type: getLink, flags: 0, payload };
}

/** Deletes a link. */
export function deleteLink(index: number): NetlinkMessage {
  return { type: delLink, flags: 0, payload: linkHeaderOf(index) };
}

/** Decodes one RTM_NEWLINK. `undefined` if the agent cannot use the link's name. */
export function decodeLink(
  view: DataView,
  start: number,
  end: number,
  family: Family,
): DecodedLink | undefined {
  const flags = view.getUint32(start + 8, true);
  let name = "";
  let mac = "";
  let masterIndex: number | undefined;
  let mtu: number | undefined;
  let lower: number | undefined;
  let isLowerHere = true;
  let isPassthrough = false;
  let settings = new Map<DeviceSetting, number>();
  for (let at = start + linkHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    const payloadEnd = attributeEnd(view, at, end);
    if (type === IFLA_IFNAME) name = readText(view, payloadOf(at), payloadEnd);
    else if (type === IFLA_ADDRESS) mac = readMac(view, payloadOf(at), payloadEnd);
    else if (type === IFLA_MTU) mtu = view.getUint32(requirePayload(view, at, end, 4), true);
    else if (type === IFLA_MASTER) masterIndex = view.getUint32(requirePayload(view, at, end, 4), true);
    else if (type === IFLA_LINK) lower = view.getUint32(requirePayload(view, at, end, 4), true);
    else if (type === IFLA_LINK_NETNSID) isLowerHere = false;
    else if (type === IFLA_LINKINFO) isPassthrough = isPassthroughInfo(view, payloadOf(at), payloadEnd);
    else if (type === IFLA_AF_SPEC) settings = readSettings(view, payloadOf(at), payloadEnd, family);
  }
  const parsed = parseInterfaceName(name);
  if (parsed === undefined) return undefined;
  return {
    link: {
      index: view.getInt32(start + 4, true),
      name: parsed,
      mac,
      isUp: (flags & IFF_UP) !== 0,
      hasCarrier: (flags & IFF_LOWER_UP) !== 0,
      // A link without a hardware address, such as a tunnel, needs no ARP.
      ...((flags & IFF_NOARP) !== 0 && mac !== "" && { isNoArp: true }),
      ...(mtu !== undefined && { mtu }),
      ...(masterIndex !== undefined && { masterIndex }),
      ...(isPassthrough && isLowerHere && lower !== undefined && { takesFrom: lower }),
    },
    setting: (setting) => settings.get(setting),
  };
}

/** True for a macvlan or macvtap in the mode `passthru`. */
function isPassthroughInfo(view: DataView, start: number, end: number): boolean {
  const kind = findAttribute(view, start, end, IFLA_INFO_KIND);
  const data = findAttribute(view, start, end, IFLA_INFO_DATA);
  if (kind === undefined || data === undefined) return false;
  const name = readText(view, payloadOf(kind), attributeEnd(view, kind, end));
  if (name !== "macvlan" && name !== "macvtap") return false;
  const dataEnd = attributeEnd(view, data, end);
  const mode = findAttribute(view, payloadOf(data), dataEnd, IFLA_MACVLAN_MODE);
  if (mode === undefined) return false;
  return view.getUint32(requirePayload(view, mode, dataEnd, 4), true) === MACVLAN_MODE_PASSTHRU;
}

/** Sets a device setting. Works even if /proc/sys is read-only. */
export function setDeviceSetting(
  index: number,
  setting: DeviceSetting,
  value: number,
  { number, link }: Family,
): NetlinkMessage {
  const conf = nestedAttribute(link.settings, u32Attribute(link.numbers[setting], value));
  const spec = nestedAttribute(IFLA_AF_SPEC, nestedAttribute(number, conf));
  return { type: setLink, flags: 0, payload: concatBytes(linkHeaderOf(index), spec) };
}

/** The header of a request about one link. */
export function linkHeaderOf(index: number): Uint8Array {
  const header = new Uint8Array(linkHeader);
  new DataView(header.buffer).setInt32(4, index, true);
  return header;
}

/** `"aa:bb:cc:dd:ee:ff"`. */
export function readMac(view: DataView, start: number, end: number): string {
  return Array.from({ length: end - start }, (_, index) =>
    view
      .getUint8(start + index)
      .toString(16)
      .padStart(2, "0"),
  ).join(":");
}

/** IFLA_AF_SPEC has one attribute per family, which holds the settings: an array of 32-bit values. */
function readSettings(
  view: DataView,
  start: number,
  end: number,
  { number, link }: Family,
): Map<DeviceSetting, number> {
  const settings = new Map<DeviceSetting, number>();
  const family = findAttribute(view, start, end, number);
  if (family === undefined) return settings;
  const familyEnd = attributeEnd(view, family, end);
  const conf = findAttribute(view, payloadOf(family), familyEnd, link.settings);
  if (conf === undefined) return settings;
  for (const [name, place] of Object.entries(link.numbers) as [DeviceSetting, number][]) {
    const values = requirePayload(view, conf, familyEnd, place * 4);
    settings.set(name, view.getUint32(values + (place - 1) * 4, true));
  }
  return settings;
}

function findAttribute(view: DataView, start: number, end: number, type: number): number | undefined {
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) === type) return at;
  }
  return undefined;
}
