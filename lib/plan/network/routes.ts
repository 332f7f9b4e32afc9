/** Plans the routes: the default route, and the desired routes with the agent's own protocol number. */

import { type Chunked, everyNth, filterChunked, forEachChunked, mapChunked, runSync } from "../../chunked.ts";
import type { Change } from "../../model/change.ts";
import { type Cidr, type Ip, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { ObservedLink, ObservedNetwork, ObservedRoute } from "../../model/observed.ts";
import { ownedNextHop, type Program } from "../../model/program.ts";

/**
 * The agent's rtm_protocol: it owns every route with this number. Not used in iproute2's rt_protos; 192 and above are
 * for daemons.
 */
export const routeProtocol = 196;

/** rtm_table of routes that every lookup uses. */
export const mainTable = 254;

export type RouteStep =
  | { readonly kind: "add"; readonly route: ObservedRoute; readonly object?: ObjectId }
  | {
      readonly kind: "replace";
      readonly route: ObservedRoute;
      /** The route that it replaces. Foreign if its protocol is not {@link routeProtocol}. */
      readonly replaced: ObservedRoute;
      readonly object?: ObjectId;
    }
  | { readonly kind: "remove"; readonly route: ObservedRoute };

export interface RoutePlan {
  /** In order of application: additions before removals. */
  readonly steps: readonly RouteStep[];
  /** What cannot be done in the observed state, and why. No attempt is made for these. */
  readonly blocked: readonly BlockedRoute[];
}

export interface BlockedRoute {
  /** Absent for the default route. */
  readonly object?: ObjectId;
  readonly route: ObservedRoute;
  readonly code: "interface-missing" | "interface-down" | "foreign-route" | "next-hop-own";
  readonly message: string;
}

/** RTPROT_KERNEL: routes that the kernel makes for addresses. They come and go with their address. */
export const kernelProtocol = 2;

/**
 * Makes the main table hold the program's routes, each with metric 0 and the agent's protocol.
 *
 * - A desired destination with metric 0 is the agent's: foreign routes to it are replaced. So is the default route while
 *   the default gateway is known, and the external interface has an address.
 * - The kernel's own route of a connected subnet stays, and the desired route is blocked.
 * - The agent's own routes that are no longer desired are removed, also the default route if its gateway is no longer
 *   known.
 *
 * Only the main table is considered.
 */
export function planRoutes(input: RouteInput): RoutePlan {
  return runSync(planRoutesChunked(input));
}

export interface RouteInput {
  readonly program: Program;
  readonly observed: ObservedNetwork;
  /** False: nobody has written a set yet. Then a default route of another program stays. Absent: true. */
  readonly isSet?: boolean | undefined;
}

/** Takes a few milliseconds. */
const plannedAtOnce = 4_000;

/** The same in parts. */
export function* planRoutesChunked({ program, observed, isSet = true }: RouteInput): Chunked<RoutePlan> {
  const links = new Map(observed.links.map((link) => [link.name, link]));
  const existing = yield* filterChunked(observed.routes, plannedAtOnce, ({ table }) => table === mainTable);
  const rivals = new Map<Cidr, ObservedRoute[]>();
  yield* forEachChunked(existing, plannedAtOnce, (route) => {
    if (route.metric !== 0) return;
    const others = rivals.get(route.destination);
    if (others === undefined) rivals.set(route.destination, [route]);
    else others.push(route);
  });
  const steps: RouteStep[] = [];
  const blocked: BlockedRoute[] = [];
  /** Routes that are correct, or that a correct one replaces. */
  const settled = new Set<ObservedRoute>();

  const isDue = everyNth(plannedAtOnce);
  const nextHop = ownedNextHop(program, observed);
  // Before anybody has said what this gateway is for, its interfaces may be others than those of the settings.
  const defaults = isSet
    ? []
    : existing.filter(({ destination }) => destination === program.family.everything);
  const isDefaultLeft = defaults.length > 0 && !defaults.some(isOwn);
  const desired = yield* desiredRoutes(program, isDefaultLeft ? undefined : nextHop);
  for (const { route, object, keepsKernelRoutes } of desired) {
    if (isDue()) yield;
    const asked = object === undefined ? {} : { object };
    const here = rivals.get(route.destination) ?? [];
    const exact = here.find((other) => isSame(route, other));
    // The kernel replaces the first route with equal destination and metric.
    const first = here[0];
    const isKept = (other: ObservedRoute) => keepsKernelRoutes && other.protocol === kernelProtocol;
    const kept = here.find(isKept);
    const obstacle =
      exact === undefined ? (linkObstacle(route, links) ?? nextHopObstacle(route, observed)) : undefined;
    if (exact !== undefined) {
      settled.add(exact);
    } else if (obstacle !== undefined) {
      blocked.push({ ...asked, route, ...obstacle });
      continue;
    } else if (kept !== undefined) {
      const message = `a connected subnet has the same destination: ${routeText(kept)}`;
      blocked.push({ ...asked, route, code: "foreign-route", message });
      continue;
    } else if (first === undefined) {
      steps.push({ kind: "add", route, ...asked });
    } else {
      settled.add(first);
      steps.push({ kind: "replace", route, replaced: first, ...asked });
    }
    for (const other of here)
      if (!isOwn(other) && !isKept(other) && !settled.has(other))
        steps.push({ kind: "remove", route: other });
  }

  // The default route outlives the last EIP: flows that rules still translate leave by it.
  const isLeft = ({ destination, via, interface: name }: ObservedRoute) =>
    nextHop === undefined &&
    destination === program.family.everything &&
    via === program.defaultGateway &&
    name === program.externalInterface;
  for (const route of existing) {
    if (isDue()) yield;
    if (isOwn(route) && !settled.has(route) && !isLeft(route)) steps.push({ kind: "remove", route });
  }
  return { steps, blocked };
}

/** The step as a change for people, as an `ip` command. */
export function describeRouteStep(step: RouteStep): Change {
  const asked = step.kind === "remove" || step.object === undefined ? {} : { object: step.object };
  const verb = step.kind === "remove" ? "del" : step.kind;
  const was = step.kind === "replace" ? ` (was: ${routeText(step.replaced)})` : "";
  return {
    action: step.kind,
    subsystem: "route",
    ...asked,
    text: `ip route ${verb} ${routeText(step.route)}${was}`,
  };
}

/** A route as `ip route` prints it. */
export function routeText(route: ObservedRoute): string {
  let text = prefixLengthOf(route.destination) === 0 ? "default" : `${route.destination}`;
  if (route.type !== "unicast") text = `${route.type} ${text}`;
  if (route.via !== undefined) text += ` via ${route.via}`;
  if (route.interface !== undefined) text += ` dev ${route.interface}`;
  for (const name of route.hops ?? []) text += ` nexthop dev ${name ?? "?"}`;
  if (route.table !== mainTable) text += ` table ${route.table}`;
  text += ` proto ${route.protocol}`;
  if (route.metric !== 0) text += ` metric ${route.metric}`;
  return route.isOnlink ? `${text} onlink` : text;
}

interface DesiredRoute {
  readonly route: ObservedRoute;
  readonly object?: ObjectId;
  /** True: a route of the kernel's own blocks it. False: it is replaced like any other. */
  readonly keepsKernelRoutes: boolean;
}

function* desiredRoutes(program: Program, nextHop: Ip | undefined): Chunked<readonly DesiredRoute[]> {
  const ours = { table: mainTable, type: "unicast", protocol: routeProtocol, metric: 0 } as const;
  const desired = yield* mapChunked(
    program.routes,
    plannedAtOnce,
    ({ id, destination, via, interface: name }): DesiredRoute => ({
      route: { ...ours, destination, via, interface: name, isOnlink: false },
      object: id,
      keepsKernelRoutes: true,
    }),
  );
  if (nextHop === undefined) return desired;
  const route: ObservedRoute = {
    ...ours,
    destination: program.family.everything,
    via: nextHop,
    interface: program.externalInterface,
    isOnlink: true,
  };
  return [{ route, keepsKernelRoutes: false }, ...desired];
}

function linkObstacle(route: ObservedRoute, links: ReadonlyMap<InterfaceName, ObservedLink>) {
  const link = route.interface === undefined ? undefined : links.get(route.interface);
  if (link === undefined) {
    return { code: "interface-missing", message: `interface ${route.interface} does not exist` } as const;
  }
  if (!link.isUp) return { code: "interface-down", message: `${link.name} is down` } as const;
  return undefined;
}

/** The kernel takes no such route. */
function nextHopObstacle({ via }: ObservedRoute, { addresses }: ObservedNetwork) {
  if (via === undefined || addresses.every(({ address }) => address !== via)) return undefined;
  return { code: "next-hop-own", message: `${via} is an address of the gateway itself` } as const;
}

function isOwn(route: ObservedRoute): boolean {
  return route.protocol === routeProtocol;
}

function isSame(one: ObservedRoute, other: ObservedRoute): boolean {
  return (
    isOwn(other) &&
    other.type === one.type &&
    one.via === other.via &&
    one.interface === other.interface &&
    one.isOnlink === other.isOnlink
  );
}
