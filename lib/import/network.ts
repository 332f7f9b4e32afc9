/** Reads addresses and routes: where EIPs are held, and the Routes that somebody added. */
import { type Chunked, everyNth } from "../chunked.ts";
import { familyOf } from "../model/families.ts";
import type { Family } from "../model/family.ts";
import type { GatewayConfig } from "../model/gateway-config.ts";
import { type Cidr, type Ip, prefixLengthOf } from "../model/ip.ts";
import type { LedgerAddress } from "../model/ledger.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ObservedNetwork, ObservedRoute } from "../model/observed.ts";
import { boundByRouteChunked } from "../plan/network/bindings.ts";
import { mainTable, routeProtocol, routeText } from "../plan/network/routes.ts";
import type { Unread } from "./read-rules.ts";

/** A route that is to be a Route. */
export interface ReadRoute {
  readonly destination: ObservedRoute["destination"];
  readonly via: Ip;
  readonly interface: "vpc" | "external";
}

/** Takes a few milliseconds. */
const lookedAtOnce = 4_000;

/** EIPs by IP: where each is held, or would be held. */
export class EipPlaces {
  readonly #subnets = new Map<InterfaceName, Set<Cidr>>();
  readonly #config: GatewayConfig;
  readonly #held = new Map<Ip, LedgerAddress>();

  private constructor(config: GatewayConfig) {
    this.#config = config;
  }

  /**
   * @param own the gateway's own addresses, which are none
   * @param named IPs that owned rules have as EIP
   */
  static *find(
    network: ObservedNetwork,
    own: ReadonlySet<Ip>,
    named: ReadonlySet<Ip>,
    config: GatewayConfig,
  ): Chunked<EipPlaces> {
    const places = new EipPlaces(config);
    const held = places.#held;
    const isDue = everyNth(lookedAtOnce);
    for (const entry of network.addresses) {
      if (isDue()) yield;
      places.#noteSubnet(entry);
      const isOutside = entry.interface === config.externalInterface || named.has(entry.address);
      if (isOutside && !own.has(entry.address) && !held.has(entry.address)) held.set(entry.address, entry);
    }
    for (const place of yield* boundByRouteChunked(network)) {
      if (isDue()) yield;
      if (own.has(place.address) || held.has(place.address)) continue;
      held.set(place.address, places.placeFor(place.address, place.interface));
    }
    return places;
  }

  /** The EIPs that are held. */
  get held(): Iterable<LedgerAddress> {
    return this.#held.values();
  }

  /** True if the EIP is held. */
  has(eip: Ip): boolean {
    return this.#held.has(eip);
  }

  interfaceOf(eip: Ip): InterfaceName {
    return this.#held.get(eip)?.interface ?? this.#config.externalInterface;
  }

  /** The place of an EIP that is not held. */
  placeFor(eip: Ip, name: InterfaceName = this.#config.externalInterface): LedgerAddress {
    return { interface: name, address: eip, prefixLength: this.#lengthFor(eip, name) };
  }

  /** The prefix length of the subnet on the interface that contains the IP, else that of one host. */
  #lengthFor(eip: Ip, name: InterfaceName): number {
    const family = familyOf(eip);
    for (const subnet of this.#subnets.get(name) ?? [])
      if (family.contains(subnet, eip)) return prefixLengthOf(subnet);
    return family.bits;
  }

  #noteSubnet({ interface: name, address, prefixLength }: LedgerAddress): void {
    const family = familyOf(address);
    if (prefixLength === family.bits) return;
    const subnets = this.#subnets.get(name) ?? new Set();
    this.#subnets.set(name, subnets.add(family.makeCidr(address, prefixLength)));
  }
}

/** RTPROT_BOOT and RTPROT_STATIC: what `ip route` and the CNI give a route. Others are of a routing daemon. */
const byHand = [3, 4];

/**
 * The Routes of the main table. If the agent served here before, they are the routes with its protocol: others were foreign then,
 * too. If not, a script added them on the VPC interface, and nothing tells them from those of the CNI.
 */
export function readRoutes(
  { routes }: ObservedNetwork,
  { vpcInterface, externalInterface, family }: GatewayConfig,
  isAgents: boolean,
): { readonly routes: readonly ReadRoute[]; readonly unread: readonly Unread[] } {
  const read = new Map<string, ReadRoute>();
  const unread: Unread[] = [];
  const linked = routes.filter(
    ({ table, via, hops }) => table === mainTable && via === undefined && hops === undefined,
  );
  for (const route of routes) {
    const { table, type, destination, via, metric, protocol } = route;
    if (table !== mainTable || type !== "unicast" || metric !== 0 || prefixLengthOf(destination) === 0)
      continue;
    const isOwn = protocol === routeProtocol;
    const isVpc = route.interface === vpcInterface && (isOwn || (!isAgents && byHand.includes(protocol)));
    if (!isVpc && !(route.interface === externalInterface && isOwn)) continue;
    // Without a next hop it is a network on the link, which no Route stands for.
    if (via === undefined) continue;
    const skip = (why: string) => unread.push({ what: routeText(route), where: "main routing table", why });
    const isReached = linked.some(
      (other) => other.interface === route.interface && family.contains(other.destination, via),
    );
    if (read.has(destination)) skip("another route has the same destination");
    else if (route.isOnlink && !isReached)
      skip("its next hop is in no connected subnet, which a Route needs");
    else read.set(destination, { destination, via, interface: isVpc ? "vpc" : "external" });
  }
  return { routes: [...read.values()], unread };
}

/** The next hop of the default route on the external interface. */
export function readGateway(
  { routes }: ObservedNetwork,
  { externalInterface, family }: { readonly externalInterface: InterfaceName; readonly family: Family },
): Ip | undefined {
  return routes.find(
    ({ table, type, destination, metric, interface: name }) =>
      table === mainTable &&
      type === "unicast" &&
      destination === family.everything &&
      metric === 0 &&
      name === externalInterface,
  )?.via;
}
