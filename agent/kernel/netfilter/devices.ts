/** Reads what other programs attach to the devices of this namespace: filters of traffic control, and XDP programs. */

import { GatewayError } from "../../../lib/model/errors.ts";
import type { Chain } from "../../../lib/netfilter/chain.ts";
import { filterChains, xdpChain } from "../../../lib/netfilter/device-programs.ts";
import { dumpLinks, newLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { decodeLinkPrograms, type LinkPrograms } from "../../../lib/netlink/rtnetlink-xdp.ts";
import {
  decodeFilter,
  dumpFilters,
  type Filter,
  type FilterPlace,
  filterPlaces,
} from "../../../lib/tc/filter.ts";
import { trafficType } from "../../../lib/tc/traffic-control.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";

export async function readDeviceChains(
  netlink: NetlinkConnection,
  signal: AbortSignal,
): Promise<readonly Chain[]> {
  const chains: Chain[] = [];
  for (const { index, name, xdp } of await readLinks(netlink, signal)) {
    if (name === "lo") continue;
    if (xdp !== undefined) chains.push(xdpChain(name, xdp));
    for (const place of Object.keys(filterPlaces) as FilterPlace[])
      chains.push(...filterChains(name, place, await readFilters(netlink, index, place, signal)));
  }
  return chains;
}

async function readLinks(netlink: NetlinkConnection, signal: AbortSignal): Promise<readonly LinkPrograms[]> {
  const links: LinkPrograms[] = [];
  await netlink.dump(
    dumpLinks(),
    (type, view, start, end) => {
      if (type === newLink) links.push(decodeLinkPrograms(view, start, end));
    },
    signal,
    () => links.splice(0),
  );
  return links;
}

async function readFilters(
  netlink: NetlinkConnection,
  index: number,
  place: FilterPlace,
  signal: AbortSignal,
): Promise<readonly Filter[]> {
  const filters: Filter[] = [];
  try {
    await netlink.dump(
      dumpFilters(index, place),
      (type, view, start, end) => {
        const filter = type === trafficType.newFilter ? decodeFilter(view, start, end) : undefined;
        if (filter !== undefined) filters.push(filter);
      },
      signal,
      () => filters.splice(0),
    );
  } catch (error) {
    // The device was removed since the links were read, or the kernel has no such qdiscs.
    if (error instanceof GatewayError && absent.includes(error.details.code)) return [];
    throw error;
  }
  return filters;
}

const absent: readonly unknown[] = ["ENODEV", "EINVAL", "EOPNOTSUPP"];
