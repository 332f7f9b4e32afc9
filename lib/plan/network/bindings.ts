/**
 * How an EIP is bound to its interface: by an address there, or by a local route of its own. Either makes the kernel answer
 * ARP for it and take its packets in; routes cost the same at 10 and at 10,000, where the kernel walks a list of addresses.
 */
import { familyOf } from "../../model/families.ts";
import { addressOf, type Ip, prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork, ObservedRoute } from "../../model/observed.ts";
import { routeProtocol } from "./routes.ts";

/** An IP on an interface, whatever its prefix length. */
export interface Place {
  readonly interface: InterfaceName;
  readonly address: Ip;
}

/** rtm_table of the addresses' own routes, and of EIPs that are bound by route. */
export const localTable = 255;

/** Sets it apart from the route of an address, which has none and would else be taken for the same. */
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

/** What a route binds where; `undefined` for one that is no binding of the agent's. */
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

/** What the agent's own local routes bind; whatever it is, it is the agent's. */
export function boundByRoute({ routes }: ObservedNetwork): readonly Place[] {
  return routes.map(boundBy).filter((place) => place !== undefined);
}

/** Everything that the gateway takes in as its own, EIPs of either binding among it. */
export function heldIn(network: ObservedNetwork): readonly Place[] {
  return [...network.addresses, ...boundByRoute(network)];
}

/** One text for each place, for sets. */
export function placeKey({ interface: name, address }: Place): string {
  return `${name} ${address}`;
}
