/** Reads links, addresses, routes and sysctls of this namespace. */

import { isSameMap, memoizeLast, stabilize } from "../../../lib/memoize.ts";
import type { Family } from "../../../lib/model/family.ts";
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
import { mainTable, routeProtocol } from "../../../lib/plan/network/routes.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
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
  readonly #join = memoizeLast((main: readonly ObservedRoute[], own: readonly ObservedRoute[]) => [
    ...main,
    ...own,
  ]);

  constructor(netlink: NetlinkConnection, family: Family, sysctlRoot: string) {
    this.#netlink = netlink;
    this.#family = family;
    this.#sysctlRoot = sysctlRoot;
  }

  /** From the local table only the agent's own routes are read: the kernel filters. */
  async read(signal: AbortSignal): Promise<ObservedNetwork> {
    const family = this.#family;
    const { links, settings } = await this.#readLinks(signal);
    const tables = this.#tablesOn(links, family);
    const addresses = await this.#readTable(dumpAddresses(family), newAddress, tables.addresses, signal);
    const main = await this.#readRoutes(dumpRoutes(mainTable, family), tables.main, signal);
    const own = await this.#readRoutes(dumpRoutes(localTable, family, routeProtocol), tables.own, signal);
    for (const key of sysctlsOfAll(family))
      settings.set(key, await readSysctl(this.#sysctlRoot, key, family, signal));
    return this.#keepNetwork({
      links,
      addresses,
      routes: this.#join(main, own),
      sysctls: this.#keepSysctls(settings),
    });
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

  async #readRoutes(
    request: NetlinkMessage,
    table: DumpCache<ObservedRoute>,
    signal: AbortSignal,
  ): Promise<readonly ObservedRoute[]> {
    // The kernel creates a table with its first route.
    return (await orAbsent(this.#readTable(request, newRoute, table, signal), ["ENOENT"])) ?? noRoutes;
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
  return [sysctls.forwarding, sysctls.ofDevice("all", "arp_ignore"), sysctls.ofDevice("all", "rp_filter")];
}

const noRoutes: readonly ObservedRoute[] = [];

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
    main: cacheRoutes(names, family),
    own: cacheRoutes(names, family),
  };
}

function cacheRoutes(names: LinkNames, family: Family): DumpCache<ObservedRoute> {
  return new DumpCache((view, start, end) => decodeNamedRoute(view, start, end, names, family));
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

function isSameNetwork(one: ObservedNetwork, other: ObservedNetwork): boolean {
  return (
    one.links === other.links &&
    one.addresses === other.addresses &&
    one.routes === other.routes &&
    one.sysctls === other.sysctls
  );
}
