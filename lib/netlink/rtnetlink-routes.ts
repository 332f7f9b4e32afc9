/** Routes in rtnetlink(7): `struct rtmsg`, RTA_* and RTN_* of include/uapi/linux/rtnetlink.h. */
import type { Family } from "../model/family.ts";
import { addressOf, type Ip, prefixLengthOf } from "../model/ip.ts";
import type { ObservedRoute } from "../model/observed.ts";
import {
  addressAttributeBytes,
  attributeEnd,
  attributeType,
  concatBytes,
  nextAttribute,
  payloadOf,
  putAddressAttribute,
  putU32,
  putU32Attribute,
  requirePayload,
  u32Attribute,
  u32AttributeBytes,
} from "./attributes.ts";
import { messageFlag, type NetlinkMessage } from "./message.ts";

/** RTM_NEWROUTE: adds a route; also the type of a dump's answers. */
export const newRoute = 24;
const deleteRoute = 25;
const getRoute = 26;

/** Bytes of `struct rtmsg`: family, two prefix lengths, TOS, table, protocol, scope, type, flags. */
const routeHeader = 12;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTNH_F_ONLINK = 4;
/** RT_SCOPE_*: through a router, on the link, on this host, and for deletes: any. */
const scope = { universe: 0, link: 253, host: 254, nowhere: 255 } as const;
/** RTN_*. */
const typeNumbers = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  other: 0,
} as const satisfies Record<ObservedRoute["type"], number>;
const typeNames: ReadonlyMap<number, ObservedRoute["type"]> = new Map(
  Object.entries(typeNumbers).map(([name, number]) => [number, name as ObservedRoute["type"]]),
);

/** A route with interface indexes instead of names. */
export interface DecodedRoute extends Omit<ObservedRoute, "interface" | "hops"> {
  readonly index: number | undefined;
  readonly hopIndexes?: readonly number[];
}

/** Requests the routes of one table. The kernel filters. */
export function dumpRoutes(table: number, { number }: Family): NetlinkMessage {
  const header = Uint8Array.of(number, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return { type: getRoute, flags: 0, payload: concatBytes(header, u32Attribute(RTA_TABLE, table)) };
}

/**
 * Decodes one RTM_NEWROUTE of the family. `via` is `undefined` for several next hops, or for a router of another
 * family.
 *
 * @returns `undefined` for a route that applies only to some type of service: it never replaces another route
 */
export function decodeRoute(
  view: DataView,
  start: number,
  end: number,
  { addressBytes, format, makeCidr, read, zero }: Family,
): DecodedRoute | undefined {
  if (view.getUint8(start + 3) !== 0) return undefined;
  let destination = zero;
  let table = view.getUint8(start + 4);
  let metric = 0;
  let via: Ip | undefined;
  let index: number | undefined;
  let hops: readonly Hop[] | undefined;
  for (let at = start + routeHeader; at < end; at = nextAttribute(view, at, end)) {
    switch (attributeType(view, at)) {
      case RTA_DST:
        destination = read(view, requirePayload(view, at, end, addressBytes));
        break;
      case RTA_GATEWAY:
        via = format(read(view, requirePayload(view, at, end, addressBytes)));
        break;
      case RTA_OIF:
        index = view.getUint32(requirePayload(view, at, end, 4), true);
        break;
      case RTA_PRIORITY:
        metric = view.getUint32(requirePayload(view, at, end, 4), true);
        break;
      case RTA_TABLE:
        table = view.getUint32(requirePayload(view, at, end, 4), true);
        break;
      case RTA_MULTIPATH:
        hops = readHops(view, payloadOf(at), attributeEnd(view, at, end), (at, end) =>
          format(read(view, requirePayload(view, at, end, addressBytes))),
        );
        break;
    }
  }
  return {
    table,
    type: typeName(view.getUint8(start + 7)),
    destination: makeCidr(format(destination), view.getUint8(start + 1)),
    via,
    index,
    ...(hops !== undefined && {
      hopIndexes: hops.map((hop) => hop.index),
      hopVias: hops.map((hop) => hop.via),
    }),
    protocol: view.getUint8(start + 5),
    metric,
    isOnlink: (view.getUint32(start + 8, true) & RTNH_F_ONLINK) !== 0,
  };
}

/** Adds a route. EEXIST if there is one with the same destination and metric, whatever its next hop. */
export function encodeAddRoute(route: DecodedRoute, family: Family): NetlinkMessage {
  const flags = messageFlag.create | messageFlag.exclusive;
  return { type: newRoute, flags, payload: routePayload(route, reach(route), family) };
}

/** Adds a route behind those with the same destination and metric. EEXIST if exactly this route exists. */
export function encodeAppendRoute(route: DecodedRoute, family: Family): NetlinkMessage {
  const flags = messageFlag.create | messageFlag.append;
  return { type: newRoute, flags, payload: routePayload(route, reach(route), family) };
}

/** Replaces the first route with the same destination and metric, in one step. */
export function encodeReplaceRoute(route: DecodedRoute, family: Family): NetlinkMessage {
  const flags = messageFlag.create | messageFlag.replace;
  return { type: newRoute, flags, payload: routePayload(route, reach(route), family) };
}

/**
 * Removes the first route that matches all fields of `route`. For the kernel, metric 0 means any here: it removes the
 * one with the lowest metric.
 */
export function encodeRemoveRoute(route: DecodedRoute, family: Family): NetlinkMessage {
  return { type: deleteRoute, flags: 0, payload: routePayload(route, scope.nowhere, family) };
}

function reach(route: DecodedRoute): number {
  if (route.type === "local") return scope.host;
  return route.via === undefined ? scope.link : scope.universe;
}

function routePayload(route: DecodedRoute, routeScope: number, family: Family): Uint8Array {
  const { via, index, metric, source } = route;
  const addresses = 1 + Number(via !== undefined) + Number(source !== undefined);
  const numbers = 1 + Number(index !== undefined) + Number(metric !== 0);
  const length = addresses * addressAttributeBytes(family) + numbers * u32AttributeBytes;
  const payload = new Uint8Array(routeHeader + length);
  payload[0] = family.number;
  payload[1] = prefixLengthOf(route.destination);
  payload[5] = route.protocol;
  payload[6] = routeScope;
  payload[7] = typeNumbers[route.type];
  putU32(payload, 8, route.isOnlink ? RTNH_F_ONLINK : 0);
  let at = putU32Attribute(payload, routeHeader, RTA_TABLE, route.table);
  at = putAddressAttribute(payload, at, RTA_DST, family.toValue(addressOf(route.destination)), family);
  if (via !== undefined) at = putAddressAttribute(payload, at, RTA_GATEWAY, family.toValue(via), family);
  if (source !== undefined)
    at = putAddressAttribute(payload, at, RTA_PREFSRC, family.toValue(source), family);
  if (index !== undefined) at = putU32Attribute(payload, at, RTA_OIF, index);
  if (metric !== 0) putU32Attribute(payload, at, RTA_PRIORITY, metric);
  return payload;
}

function typeName(number: number): ObservedRoute["type"] {
  return typeNames.get(number) ?? "other";
}

interface Hop {
  readonly index: number;
  readonly via: Ip | undefined;
}

/**
 * An array of `struct rtnexthop`, each with its own attributes: length, flags, weight, index.
 *
 * @param addressAt reads the address in the attribute at `at`
 */
function readHops(
  view: DataView,
  start: number,
  end: number,
  addressAt: (at: number, end: number) => Ip,
): readonly Hop[] {
  const hops: Hop[] = [];
  for (let at = start; at + hopHeader <= end; ) {
    const length = Math.max(view.getUint16(at, true), hopHeader);
    const hopEnd = Math.min(at + length, end);
    let via: Ip | undefined;
    for (let inner = at + hopHeader; inner < hopEnd; inner = nextAttribute(view, inner, hopEnd))
      if (attributeType(view, inner) === RTA_GATEWAY) via = addressAt(inner, hopEnd);
    hops.push({ index: view.getUint32(at + 4, true), via });
    at += (length + 3) & ~3;
  }
  return hops;
}

const hopHeader = 8;
