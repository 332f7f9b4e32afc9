/** Routes that lead away what should go to the outside. */
import { PrefixTable } from "../../conntrack/prefix-table.ts";
import { prefixLengthOf, rangeOf } from "../../model/ipv4.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedRoute } from "../../model/observed.ts";
import { mainTable } from "../network/routes.ts";

/** RTPROT_KERNEL: a connected subnet's route. */
const kernelProtocol = 2;
/** Nobody's network is as wide: such a route takes a part of the Internet from the default route. */
const widestNetwork = 8;

/**
 * Routes of the main table into a connected subnet of an outside interface, or to a share of the whole Internet, that leave by no
 * outside interface.
 */
export function conflictingRoutes(
  routes: readonly ObservedRoute[],
  outside: readonly InterfaceName[],
): readonly ObservedRoute[] {
  const names = new Set(outside);
  const isOutside = ({ interface: name }: ObservedRoute) => name !== undefined && names.has(name);
  const subnets = new PrefixTable<ObservedRoute>();
  for (const route of routes)
    if (route.protocol === kernelProtocol && route.table === mainTable && isOutside(route))
      subnets.set(route.destination, route);
  return routes.filter((route) => {
    if (route.table !== mainTable || isOutside(route) || route.hops?.every((name) => name && names.has(name)))
      return false;
    const length = prefixLengthOf(route.destination);
    if (length > 0 && length < widestNetwork) return true;
    const subnet = subnets.longest(rangeOf(route.destination)[0]);
    return subnet !== undefined && prefixLengthOf(subnet.destination) <= length;
  });
}
