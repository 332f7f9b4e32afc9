/** Routes and filters that can send packets another way than the gateway needs. */
import { type Chunked, filterChunked, forEachChunked } from "../../chunked.ts";
import { PrefixTable } from "../../conntrack/prefix-table.ts";
import type { AddressValue, Family } from "../../model/family.ts";
import { prefixLengthOf } from "../../model/ip.ts";
import type { InterfaceName } from "../../model/names.ts";
import type { ObservedNetwork, ObservedPaths, ObservedRoute } from "../../model/observed.ts";
import type { Program } from "../../model/program.ts";
import { localTable } from "../network/bindings.ts";
import { kernelProtocol, mainTable } from "../network/routes.ts";

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

/**
 * Routes that stand in the way, as far as the agent can tell without knowing which outside addresses are in use:
 *
 * - of the main table: those that lead into a connected subnet of the gateway by another interface than that subnet's, and
 *   those for a part of the Internet that do not leave by an external interface;
 * - of the local table: those of other programs for a part of the Internet or all of it, or ahead of the kernel's own for an address of
 *   the gateway.
 *
 * @param isLocal true for the gateway's own addresses
 */
export function* conflictingRoutes(
  { vpcInterface: vpc, family }: Program,
  { routes, addresses }: ObservedNetwork,
  { tables }: ObservedPaths,
  outside: readonly InterfaceName[],
  isLocal: (address: AddressValue) => boolean,
): Chunked<readonly ObservedRoute[]> {
  const local = tables.get(localTable) ?? [];
  const subnets = new PrefixTable<ObservedRoute>(family);
  yield* forEachChunked(routes, lookedAtOnce, (route) => {
    if (route.protocol === kernelProtocol && route.table === mainTable && isBy(route, [vpc, ...outside]))
      subnets.set(route.destination, route);
  });
  const isWide = ({ destination }: ObservedRoute) => prefixLengthOf(destination) < family.widestNetwork;
  const wide = local.filter((route) => route.type !== "throw" && isWide(route) && !isBy(route, outside));
  const used = [vpc, ...outside];
  const hidesAddress = ({ type, destination }: ObservedRoute) =>
    type !== "local" &&
    addresses.some(
      (one) => used.includes(one.interface) && destination === `${one.address}${family.hostSuffix}`,
    );
  const hiding = local.filter(hidesAddress);
  const conflicting = yield* filterChunked(routes, lookedAtOnce, (route) => {
    if (route.table !== mainTable || route.protocol === kernelProtocol) return false;
    const length = prefixLengthOf(route.destination);
    if (length > 0 && length < family.widestNetwork) return !isBy(route, outside);
    const [first] = family.rangeOf(route.destination);
    // The local table comes first: such a route is for routing daemons, which announce it.
    if (length === family.bits && isLocal(first)) return false;
    const subnet = subnets.longest(first);
    if (subnet?.interface === undefined || prefixLengthOf(subnet.destination) > length) return false;
    return !isBy(route, [subnet.interface]);
  });
  return [...(yield* withoutUnused(conflicting, routes)), ...wide, ...hiding];
}

/** Without those that another route to the same destination precedes. */
function* withoutUnused(
  conflicting: readonly ObservedRoute[],
  routes: readonly ObservedRoute[],
): Chunked<readonly ObservedRoute[]> {
  if (conflicting.length === 0) return conflicting;
  const least = new Map(conflicting.map(({ destination, metric }) => [destination, metric]));
  yield* forEachChunked(routes, lookedAtOnce, ({ table, destination, metric }) => {
    const known = least.get(destination);
    if (table === mainTable && known !== undefined && metric < known) least.set(destination, metric);
  });
  return yield* filterChunked(
    conflicting,
    lookedAtOnce,
    ({ destination, metric }) => metric <= (least.get(destination) ?? metric),
  );
}

/**
 * External interfaces where `rp_filter=1` drops incoming packets because the route back, the default route, uses
 * another interface.
 */
export function reverseFiltered(
  { routes, sysctls }: ObservedNetwork,
  outside: readonly InterfaceName[],
  family: Family,
): readonly InterfaceName[] {
  const valueAt = (name: string) => sysctls.get(family.sysctls.ofDevice(name, "rp_filter")) ?? 0;
  const isStrict = (name: InterfaceName) => Math.max(valueAt("all"), valueAt(name)) === 1;
  const strict = outside.filter(isStrict);
  const defaults = strict.length === 0 ? [] : routes.filter(isDefault);
  if (defaults.length === 0) return [];
  return strict.filter((name) => defaults.every((route) => route.interface !== name));
}

function isDefault({ destination, table, type }: ObservedRoute): boolean {
  return table === mainTable && type === "unicast" && prefixLengthOf(destination) === 0;
}

/** True if all next hops of a route use one of the interfaces. */
function isBy(route: ObservedRoute, names: readonly InterfaceName[]): boolean {
  const hops = route.hops ?? [route.interface];
  return hops.every((name) => name !== undefined && names.includes(name));
}
