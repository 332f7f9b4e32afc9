/** Reads links, addresses, routes and sysctls of this namespace. */
import { GatewayError } from "../../../lib/model/errors.ts";
import type { InterfaceName } from "../../../lib/model/names.ts";
import type {
  ObservedAddress,
  ObservedLink,
  ObservedNetwork,
  ObservedRoute,
  SysctlKey,
} from "../../../lib/model/observed.ts";
import { decodeAddress, dumpAddresses, newAddress } from "../../../lib/netlink/rtnetlink-addresses.ts";
import {
  type DeviceSetting,
  decodeLink,
  deviceSettings,
  dumpLinks,
  newLink,
} from "../../../lib/netlink/rtnetlink-links.ts";
import { decodeRoute, dumpRoutes, newRoute } from "../../../lib/netlink/rtnetlink-routes.ts";
import { localTable } from "../../../lib/plan/bindings.ts";
import { mainTable, routeProtocol } from "../../../lib/plan/routes.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { readSysctl } from "./sysctls.ts";

/** One reading of everything, in four dumps. Of the local table only the agent's own routes are read: the kernel filters. */
export async function observeNetwork(
  netlink: NetlinkConnection,
  sysctlRoot: string,
  signal: AbortSignal,
): Promise<ObservedNetwork> {
  const { links, settings } = await readLinks(netlink, signal);
  const names = new Map(links.map((link) => [link.index, link.name]));
  const addresses = await readAddresses(netlink, names, signal);
  const routes = await readRoutes(netlink, names, mainTable, 0, signal);
  const own = await readRoutes(netlink, names, localTable, routeProtocol, signal);
  for (const key of ["net.ipv4.ip_forward", "net.ipv4.conf.all.arp_ignore"] as const) {
    settings.set(key, await readSysctl(sysctlRoot, key, signal));
  }
  return { links, addresses, routes: [...routes, ...own], sysctls: settings };
}

/** The links, and the settings of each, which the kernel tells in the same breath. */
async function readLinks(netlink: NetlinkConnection, signal: AbortSignal) {
  const links: ObservedLink[] = [];
  const settings = new Map<SysctlKey, number | undefined>();
  await netlink.dump(
    dumpLinks(),
    (type, view, start, end) => {
      const decoded = type === newLink ? decodeLink(view, start, end) : undefined;
      if (decoded === undefined) return;
      links.push(decoded.link);
      for (const setting of Object.keys(deviceSettings) as DeviceSetting[]) {
        settings.set(`net.ipv4.conf.${decoded.link.name}.${setting}`, decoded.setting(setting));
      }
    },
    signal,
    () => {
      links.length = 0;
      settings.clear();
    },
  );
  return { links, settings };
}

async function readAddresses(
  netlink: NetlinkConnection,
  names: ReadonlyMap<number, InterfaceName>,
  signal: AbortSignal,
): Promise<ObservedAddress[]> {
  const addresses: ObservedAddress[] = [];
  await netlink.dump(
    dumpAddresses(),
    (type, view, start, end) => {
      if (type !== newAddress) return;
      const { index, ...address } = decodeAddress(view, start, end);
      const name = names.get(index);
      // A link that came or was renamed since: its event wakes the next pass.
      if (name !== undefined) addresses.push({ interface: name, ...address });
    },
    signal,
    () => {
      addresses.length = 0;
    },
  );
  return addresses;
}

async function readRoutes(
  netlink: NetlinkConnection,
  names: ReadonlyMap<number, InterfaceName>,
  table: number,
  protocol: number,
  signal: AbortSignal,
): Promise<ObservedRoute[]> {
  const routes: ObservedRoute[] = [];
  try {
    await netlink.dump(
      dumpRoutes(table, protocol),
      (type, view, start, end) => {
        const decoded = type === newRoute ? decodeRoute(view, start, end) : undefined;
        if (decoded === undefined) return;
        const { index, ...route } = decoded;
        routes.push({ ...route, interface: index === undefined ? undefined : names.get(index) });
      },
      signal,
      () => {
        routes.length = 0;
      },
    );
  } catch (error) {
    // The kernel makes a table with its first route.
    if (!(error instanceof GatewayError && error.details.code === "ENOENT")) throw error;
  }
  return routes;
}
