/**
 * How an EIP is bound to its interface: by an address, or by a local route. With both, the kernel answers ARP for it
 * and accepts its packets. The cost of a route does not depend on their number (same at 10 and 10,000); for addresses
 * the kernel walks a list.
 */
import { type Chunked, everyNth, runSync } from "../../chunked.ts";
import { familyOf } from "../../model/families.ts";
import { addressOf, type Ip, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork, ObservedRoute } from "../../model/observed.ts";
import { kernelProtocol, routeProtocol } from "./routes.ts";

/** An IP on an interface, without prefix length. */
export interface Place {
  readonly interface: InterfaceName;
  readonly address: Ip;
}

/** rtm_table of local routes: those of addresses and those that bind EIPs. */
export const localTable = 255;

/** Distinguishes it from the route of an address, which has no metric. The kernel would treat the two as one route. */
const bindingMetric = 77;

/** The route that binds an EIP: `local 203.0.113.10/32 dev net1 table 255 proto 196 metric 77`. */
export function bindingRoute({ interface: name, address }: Place): ObservedRoute {
  const family = familyOf(address);
  return {
    table: localTable,
    type: "local",
    destination: family.makeCidr(address, family.bits),
    via: undefined,
    interface: name,
    protocol: routeProtocol,
    metric: bindingMetric,
    isOnlink: false,
  };
}

/**
 * The kernel's own route of an address: `local 203.0.113.10/32 dev net1 table 255 proto 2`.
 *
 * @param source the primary address of its subnet
 */
export function routeOfAddress(place: Place, source: Ip): ObservedRoute {
  return { ...bindingRoute(place), protocol: kernelProtocol, metric: 0, source };
}

/** What a route binds. `undefined` if it is not a binding of the agent. */
export function boundBy(route: ObservedRoute): Place | undefined {
  const isBinding =
    route.table === localTable &&
    route.type === "local" &&
    route.protocol === routeProtocol &&
    route.metric === bindingMetric &&
    prefixLengthOf(route.destination) === familyOf(route.destination).bits;
  if (!isBinding || route.interface === undefined) return undefined;
  return { interface: route.interface, address: addressOf(route.destination) };
}

/** Everything that the agent's own local routes bind. All of it is the agent's. */
export function boundByRoute(network: ObservedNetwork): readonly Place[] {
  return runSync(boundByRouteChunked(network));
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

/** The same in parts. Known for the reading of the routes. */
export function* boundByRouteChunked({ routes }: ObservedNetwork): Chunked<readonly Place[]> {
  const known = bound.get(routes);
  if (known !== undefined) return known;
  const places: Place[] = [];
  const isDue = everyNth(lookedAtOnce);
  for (const route of routes) {
    if (isDue()) yield;
    const place = boundBy(route);
    if (place !== undefined) places.push(place);
  }
  bound.set(routes, places);
  return places;
}

const bound = new WeakMap<ObservedNetwork["routes"], readonly Place[]>();

/** Everything that the gateway accepts as local, including EIPs of either binding. */
export function heldIn(network: ObservedNetwork): readonly Place[] {
  return runSync(heldInChunked(network));
}

/** The same in parts. */
export function* heldInChunked(network: ObservedNetwork): Chunked<readonly Place[]> {
  return [...network.addresses, ...(yield* boundByRouteChunked(network))];
}

/** A text per place, for use in sets. */
export function placeKey({ interface: name, address }: Place): string {
  return `${name} ${address}`;
}
