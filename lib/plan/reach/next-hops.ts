/** The routers that the gateway's routes use, and which of them do not answer. */
import { type Chunked, forEachChunked } from "../../chunked.ts";
import type { Degradation } from "../../model/degradation.ts";
import { type Ip, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { ObservedLink, ObservedNetwork, ObservedPaths, ObservedRoute } from "../../model/observed.ts";
import type { Program } from "../../model/program.ts";
import type { NeighbourState } from "../../netlink/rtnetlink-neighbours.ts";
import { mainTable, routeProtocol, routeText } from "../network/routes.ts";
import { linkFault } from "./links.ts";
import { leadsTo, routeChoiceText } from "./route-choice.ts";
import type { RouteChoice, RouteLookup } from "./route-lookup.ts";

export interface NextHop {
  readonly via: Ip;
  readonly interface: InterfaceName;
  /** The index of the interface. */
  readonly index: number;
}

/** The next hops of the default routes and of the agent's own routes, on interfaces that can send ARP. */
export function nextHopsOf(network: ObservedNetwork): readonly NextHop[] {
  return hopsOf(network, network.routes.filter(leadsToRouter));
}

/** Those of any program's routes in the tables in use, but of others only so many: each is looked at every second. */
export function watchedHopsOf(network: ObservedNetwork, { tables }: ObservedPaths): readonly NextHop[] {
  const own = nextHopsOf(network);
  const known = new Set(own.map(hopKey));
  const inMain = network.routes.filter(isRouted);
  const all = hopsOf(network, [
    ...inMain,
    ...Array.from(tables.values(), (routes) => routes.filter(hasRouter)).flat(),
  ]);
  return [...own, ...all.filter((hop) => !known.has(hopKey(hop))).slice(0, maxOthers)];
}

const maxOthers = 16;

/** The links that can send ARP. */
export function resolvingLinks({ links }: ObservedNetwork): readonly ObservedLink[] {
  return links.filter((link) => !link.isNoArp && linkFault(links, link.name) === undefined);
}

function hopsOf(network: ObservedNetwork, routes: readonly ObservedRoute[]): readonly NextHop[] {
  const hops = new Map<string, NextHop>();
  const usable = new Map(resolvingLinks(network).map((link) => [link.name, link]));
  for (const { via, interface: name } of routes.flatMap(hopsIn)) {
    const link = name === undefined ? undefined : usable.get(name);
    if (via === undefined || link === undefined) continue;
    const hop = { via, interface: link.name, index: link.index };
    hops.set(hopKey(hop), hop);
  }
  return [...hops.values()];
}

/** Where a route leads: to one router, or to several. */
export function hopsIn(route: ObservedRoute): readonly Pick<ObservedRoute, "via" | "interface">[] {
  return route.hops?.map((name, at) => ({ via: route.hopVias?.[at], interface: name })) ?? [route];
}

/** A text for each next hop, for use in sets. */
export function hopKey({ via, interface: name }: Pick<NextHop, "via" | "interface">): string {
  return `${via} ${name}`;
}

/** A next hop that gets no packets. */
export interface SilentHop extends NextHop {
  /** The MAC that somebody entered for it, and the other one that answers. Absent: nobody answers. */
  readonly fixedMac?: string;
  readonly answeredBy?: string;
}

/** Why it gets no packets. */
export function silentText({ via, interface: name, fixedMac, answeredBy }: SilentHop): string {
  return fixedMac === undefined
    ? `${via} does not answer ARP on ${name}`
    : `${via} answers ARP on ${name} with ${answeredBy}, but its neighbour entry is fixed to ${fixedMac}`;
}

/** A next hop that packets to itself do not reach. */
export interface HiddenHop extends NextHop {
  /** Why, as text. */
  readonly why: string;
  readonly choice: Pick<RouteChoice, "route" | "rule">;
}

/**
 * The next hops inside a connected subnet of their interface to which routes or the gateway's own addresses lead
 * elsewhere. Packets through them pass, those to them and to their neighbours do not.
 */
export function hiddenHops(
  { vpcInterface: vpc, externalInterface: external, family }: Program,
  network: ObservedNetwork,
  lookup: RouteLookup,
): readonly HiddenHop[] {
  return nextHopsOf(network).flatMap((hop): readonly HiddenHop[] => {
    const destination = family.toValue(hop.via);
    const inInterface = hop.interface === vpc ? external : vpc;
    if (lookup.isLocal(destination))
      return [
        { ...hop, why: "it is the gateway's own address", choice: { route: undefined, rule: undefined } },
      ];
    const choice = lookup.of({ inInterface, source: undefined, destination });
    const via = choice.route?.via ?? hop.via;
    if (leadsTo(choice, hop.interface) && via === hop.via) return [];
    const isConnected = network.addresses.some(
      ({ interface: name, address, prefixLength }) =>
        name === hop.interface && family.contains(family.makeCidr(address, prefixLength), hop.via),
    );
    return isConnected ? [{ ...hop, why: routeChoiceText(choice), choice }] : [];
  });
}

/** While the kernel asks again, the previous result stays valid. */
export function isSilentNow(state: NeighbourState, wasSilent: boolean): boolean {
  return state === "unknown" ? wasSilent : state === "failed";
}

/** Maximum number of routers in a message. */
const maxNamed = 5;
/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/**
 * Why routers make the gateway degraded.
 *
 * @param cutOff objects behind routers of other programs' routes
 */
export function* nextHopNotices(
  { routes }: ObservedNetwork,
  silent: readonly SilentHop[],
  cutOff: ReadonlyMap<ObjectId, SilentHop>,
): Chunked<readonly Degradation[]> {
  if (silent.length === 0) return [];
  const all = new Map(
    silent.map((hop) => [hopKey(hop), { hop, routes: [] as string[], behind: [] as string[] }]),
  );
  yield* forEachChunked(routes, lookedAtOnce, (route) => {
    const { via, interface: name } = route;
    if (via === undefined || name === undefined || !leadsToRouter(route)) return;
    all.get(hopKey({ via, interface: name }))?.routes.push(routeText(route));
  });
  yield* forEachChunked(cutOff, lookedAtOnce, ([id, hop]) => all.get(hopKey(hop))?.behind.push(id));
  const found = [...all.values()].filter((one) => one.routes.length + one.behind.length > 0);
  if (found.length === 0) return [];
  const messages = found.slice(0, maxNamed).map(({ hop, routes: own, behind }) => {
    const what = own.length > 0 ? `${firstOf(own)} cannot be used` : `${firstOf(behind)} behind it`;
    return `${silentText(hop)}: ${what}`;
  });
  const others = found.length - messages.length;
  if (others > 0) messages.push(`and ${others} more routers`);
  return [{ reason: "NextHopUnreachable", message: messages.join("; ") }];
}

function firstOf([first = "", ...others]: readonly string[]): string {
  return others.length === 0 ? first : `${first} and ${others.length} more`;
}

function leadsToRouter(route: ObservedRoute): boolean {
  return isRouted(route) && (route.protocol === routeProtocol || prefixLengthOf(route.destination) === 0);
}

function isRouted(route: ObservedRoute): boolean {
  return route.table === mainTable && hasRouter(route);
}

function hasRouter(route: ObservedRoute): boolean {
  return route.type === "unicast" && hopsIn(route).some(({ via }) => via !== undefined);
}
