/** The routers that the gateway's routes use, and which of them do not answer. */
import type { Degradation } from "../../model/degradation.ts";
import { type Ip, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork, ObservedRoute } from "../../model/observed.ts";
import type { NeighbourState } from "../../netlink/rtnetlink-neighbours.ts";
import { mainTable, routeProtocol, routeText } from "../network/routes.ts";
import { linkFault } from "./links.ts";

export interface NextHop {
  readonly via: Ip;
  readonly interface: InterfaceName;
  /** The index of the interface. */
  readonly index: number;
}

/** The next hops of the default routes and of the agent's own routes, on interfaces that can send ARP. */
export function nextHopsOf({ links, routes }: ObservedNetwork): readonly NextHop[] {
  const hops = new Map<string, NextHop>();
  const usable = new Map(
    links
      .filter((link) => !link.isNoArp && linkFault(links, link.name) === undefined)
      .map((link) => [link.name, link]),
  );
  for (const { via, interface: name } of routes.filter(leadsToRouter)) {
    const link = name === undefined ? undefined : usable.get(name);
    if (via !== undefined && link !== undefined)
      hops.set(`${via} ${link.name}`, { via, interface: link.name, index: link.index });
  }
  return [...hops.values()];
}

/** While the kernel asks again, the previous result stays valid. */
export function isSilentNow(state: NeighbourState, wasSilent: boolean): boolean {
  return state === "unknown" ? wasSilent : state === "failed";
}

/** Why routers make the gateway degraded. */
export function nextHopNotices(
  { routes }: ObservedNetwork,
  silent: readonly NextHop[],
): readonly Degradation[] {
  if (silent.length === 0) return [];
  const affected = (hop: NextHop) =>
    routes.filter(
      (route) => leadsToRouter(route) && route.via === hop.via && route.interface === hop.interface,
    );
  const messages = silent.map((hop) => {
    const [first, ...others] = affected(hop).map(routeText);
    const more = others.length === 0 ? "" : ` and ${others.length} more`;
    return `${hop.via} does not answer ARP on ${hop.interface}: ${first ?? "no route"}${more} cannot be used`;
  });
  return [{ reason: "NextHopUnreachable", message: messages.join("; ") }];
}

function leadsToRouter({ table, type, destination, via, protocol }: ObservedRoute): boolean {
  const isOfInterest = protocol === routeProtocol || prefixLengthOf(destination) === 0;
  return table === mainTable && type === "unicast" && via !== undefined && isOfInterest;
}
