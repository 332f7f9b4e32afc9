/** Reads links, addresses, routes and sysctls of this namespace. */

import { isSameMap, memoizeLast, stabilize } from "../../../lib/memoize.ts";
import type { AddressKey, Family } from "../../../lib/model/family.ts";
import { prefixLengthOf } from "../../../lib/model/ip.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type {
  DeviceSetting,
  ObservedAddress,
  ObservedLink,
  ObservedNetwork,
  ObservedRoute,
  SysctlKey,
} from "../../../lib/model/observed.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import { decodeAddress, dumpAddresses, newAddress } from "../../../lib/netlink/rtnetlink-addresses.ts";
import { decodeLink, dumpLinks, newLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { decodeRoute, dumpRoutes, newRoute } from "../../../lib/netlink/rtnetlink-routes.ts";
import { localTable } from "../../../lib/plan/network/bindings.ts";
import { kernelProtocol, mainTable, routeProtocol } from "../../../lib/plan/network/routes.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";
import { orAbsent } from "../netlink/refusal.ts";
import { DumpCache } from "./dump-cache.ts";
import { readSysctl } from "./sysctls.ts";

/**
 * Reads everything, in four dumps. Unchanged parts keep their identity, so that memoized results based on them stay
 * valid.
 */
export class NetworkReader {
  readonly #netlink: NetlinkConnection;
  readonly #family: Family;
  readonly #sysctlRoot: string;
  readonly #keepLinks = stabilize(isSameLinks);
  readonly #keepSysctls = stabilize<ReadonlyMap<SysctlKey, number | undefined>>(isSameMap);
  readonly #keepNetwork = stabilize(isSameNetwork);
  /** Decoded values contain link names, so a change of the links needs new caches. */
  readonly #tablesOn = memoizeLast(cacheTables);
  readonly #partsOf = memoizeLast(partsOf);
  readonly #unroutedAmong = memoizeLast(unroutedAmong);
  readonly #keepUnrouted = stabilize<readonly ObservedAddress[]>(isSameList);
  readonly #join = memoizeLast((main: readonly ObservedRoute[], own: readonly ObservedRoute[]) => [
    ...main,
    ...own,
  ]);

  constructor(netlink: NetlinkConnection, family: Family, sysctlRoot: string) {
    this.#netlink = netlink;
    this.#family = family;
    this.#sysctlRoot = sysctlRoot;
  }

  /** The local table comes before the addresses, so that one that is just removed does not seem to lack its route. */
  async read(signal: AbortSignal): Promise<ObservedNetwork> {
    const family = this.#family;
    const { links, settings } = await this.#readLinks(signal);
    const tables = this.#tablesOn(links, family);
    const local = await this.#readRoutes(dumpRoutes(localTable, family), tables.local, signal);
    const { own, foreign, routed } = this.#partsOf(local);
    const addresses = await this.#readTable(dumpAddresses(family), newAddress, tables.addresses, signal);
    const unrouted = family.answersByRoute ? await this.#readUnrouted(addresses, routed, links, signal) : [];
    const main = await this.#readRoutes(dumpRoutes(mainTable, family), tables.main, signal);
    for (const key of sysctlsOfAll(family)) settings.set(key, readSysctl(this.#sysctlRoot, key, family));
    return this.#keepNetwork({
      links,
      addresses,
      ...(unrouted.length > 0 && { unrouted: this.#keepUnrouted(unrouted) }),
      routes: this.#join(main, own),
      ...(foreign.length > 0 && { foreignLocal: foreign }),
      sysctls: this.#keepSysctls(settings),
    });
  }

  /** A route of any other program does the same as the kernel's. An interface in a VRF has its routes in another table. */
  async #readUnrouted(
    addresses: readonly ObservedAddress[],
    routed: readonly AddressKey[],
    links: readonly ObservedLink[],
    signal: AbortSignal,
  ): Promise<readonly ObservedAddress[]> {
    const family = this.#family;
    const found = this.#unroutedAmong(addresses, routed, family);
    if (found.length === 0) return found;
    // One that was just added has its route by now.
    const decode = (view: DataView, start: number, end: number) =>
      localKey(decodeRoute(view, start, end, family), family);
    const all = await readDump(this.#netlink, dumpRoutes(localTable, family), newRoute, decode, signal);
    const elsewhere = new Set(
      links.filter(({ masterIndex }) => masterIndex !== undefined).map(({ name }) => name),
    );
    return unroutedAmong(found, all, family).filter((address) => !elsewhere.has(address.interface));
  }

  /** The links and their settings. The kernel reports them in one message with counters that always change. */
  async #readLinks(signal: AbortSignal) {
    const { link: known, sysctls } = this.#family;
    const links: ObservedLink[] = [];
    const settings = new Map<SysctlKey, number | undefined>();
    await this.#netlink.dump(
      dumpLinks(),
      (type, view, start, end) => {
        const decoded = type === newLink ? decodeLink(view, start, end, this.#family) : undefined;
        if (decoded === undefined) return;
        links.push(decoded.link);
        for (const setting of Object.keys(known.numbers) as DeviceSetting[]) {
          settings.set(sysctls.ofDevice(decoded.link.name, setting), decoded.setting(setting));
        }
      },
      signal,
      () => {
        links.length = 0;
        settings.clear();
      },
    );
    return { links: this.#keepLinks(links), settings };
  }

  async #readRoutes<T>(
    request: NetlinkMessage,
    table: DumpCache<T>,
    signal: AbortSignal,
  ): Promise<readonly T[]> {
    // The kernel creates a table with its first route.
    return (await orAbsent(this.#readTable(request, newRoute, table, signal), ["ENOENT"])) ?? none;
  }

  async #readTable<T>(
    request: NetlinkMessage,
    answer: number,
    table: DumpCache<T>,
    signal: AbortSignal,
  ): Promise<readonly T[]> {
    table.begin();
    await this.#netlink.dump(
      request,
      (type, view, start, end) => {
        if (type === answer) table.visit(view, start, end);
      },
      signal,
      () => table.begin(),
    );
    return table.end();
  }
}

/** Settings that no link message contains. */
function sysctlsOfAll({ sysctls }: Family): readonly SysctlKey[] {
  return [
    sysctls.forwarding,
    sysctls.ofDevice("all", "arp_ignore"),
    sysctls.ofDevice("all", "rp_filter"),
    ...sysctls.flowTimeouts,
  ];
}

const none: readonly never[] = [];

/** Interface names by index. */
export type LinkNames = ReadonlyMap<number, InterfaceName>;

export function linkNames(links: readonly ObservedLink[]): LinkNames {
  return new Map(links.map((link) => [link.index, link.name]));
}

function cacheTables(links: readonly ObservedLink[], family: Family) {
  const names = linkNames(links);
  return {
    addresses: new DumpCache<ObservedAddress>((view, start, end) => {
      const { index, address, prefixLength, isSecondary, label } = decodeAddress(view, start, end, family);
      const name = names.get(index);
      // A link that was added or renamed since: its event wakes the next pass.
      return name && { interface: name, address, prefixLength, isSecondary, label };
    }),
    local: new DumpCache<LocalRoute>((view, start, end) => {
      const route = decodeNamedRoute(view, start, end, names, family);
      return route?.protocol === kernelProtocol ? localKey(route, family) : route;
    }),
    main: new DumpCache((view, start, end) => decodeNamedRoute(view, start, end, names, family)),
  };
}

/** A route of the local table. Of the kernel's, one for each address, only that address. */
type LocalRoute = ObservedRoute | AddressKey;

function partsOf(local: readonly LocalRoute[]) {
  const own: ObservedRoute[] = [];
  const foreign: ObservedRoute[] = [];
  const routed: AddressKey[] = [];
  for (const route of local) {
    if (typeof route !== "object") routed.push(route);
    else if (route.protocol === routeProtocol) own.push(route);
    else foreign.push(route);
  }
  return { own, foreign, routed };
}

/** Those of the addresses that are not among the destinations of local routes. */
function unroutedAmong(
  addresses: readonly ObservedAddress[],
  local: readonly (AddressKey | undefined)[],
  { keyOf, toValue }: Family,
): readonly ObservedAddress[] {
  const routed = new Set(local);
  return addresses.filter(({ address }) => !routed.has(keyOf(toValue(address))));
}

/** The destination of a local route for one address. */
function localKey(
  route: Pick<ObservedRoute, "type" | "destination"> | undefined,
  family: Family,
): AddressKey | undefined {
  if (route?.type !== "local" || prefixLengthOf(route.destination) !== family.bits) return undefined;
  return family.keyOf(family.rangeOf(route.destination)[0]);
}

/** A route with interface names instead of indexes. */
export function decodeNamedRoute(
  view: DataView,
  start: number,
  end: number,
  names: LinkNames,
  family: Family,
): ObservedRoute | undefined {
  const decoded = decodeRoute(view, start, end, family);
  if (decoded === undefined) return undefined;
  const { index, hopIndexes, ...route } = decoded;
  const nameOf = (index: number | undefined) => (index === undefined ? undefined : names.get(index));
  const hops = hopIndexes === undefined ? {} : { hops: hopIndexes.map(nameOf) };
  return { ...route, interface: nameOf(index), ...hops };
}

function isSameLinks(one: readonly ObservedLink[], other: readonly ObservedLink[]): boolean {
  return one.length === other.length && one.every((link, at) => isSameLink(link, other[at]));
}

function isSameLink(one: ObservedLink, other: ObservedLink | undefined): boolean {
  return (
    one.index === other?.index &&
    one.name === other.name &&
    one.mac === other.mac &&
    one.mtu === other.mtu &&
    one.isUp === other.isUp &&
    one.hasCarrier === other.hasCarrier &&
    one.isNoArp === other.isNoArp &&
    one.masterIndex === other.masterIndex &&
    one.takesFrom === other.takesFrom
  );
}

function isSameList<T>(one: readonly T[], other: readonly T[]): boolean {
  return one.length === other.length && one.every((value, at) => value === other[at]);
}

function isSameNetwork(one: ObservedNetwork, other: ObservedNetwork): boolean {
  return (
    one.links === other.links &&
    one.addresses === other.addresses &&
    one.unrouted === other.unrouted &&
    one.routes === other.routes &&
    one.foreignLocal === other.foreignLocal &&
    one.sysctls === other.sysctls
  );
}
