/** Reads what other programs attach to the devices of this namespace: filters and qdiscs of traffic control, and XDP programs. */

import type { Chain } from "../../../lib/netfilter/chain.ts";
import { filterChains, qdiscChain, xdpChain } from "../../../lib/netfilter/device-programs.ts";
import { dumpLinks, newLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { decodeLinkPrograms, type LinkPrograms } from "../../../lib/netlink/rtnetlink-xdp.ts";
import { decodeFilter, type Filter, type FilterPlace, filterPlaces } from "../../../lib/tc/filter.ts";
import { dumpFilters } from "../../../lib/tc/filter-parts.ts";
import { ingressHandle } from "../../../lib/tc/handles.ts";
import { decodeQdisc, dumpQdiscs } from "../../../lib/tc/qdisc.ts";
import { trafficType } from "../../../lib/tc/traffic-control.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";
import { orAbsent } from "../netlink/refusal.ts";

export function readLinks(netlink: NetlinkConnection, signal: AbortSignal): Promise<readonly LinkPrograms[]> {
  return readDump(netlink, dumpLinks(), newLink, decodeLinkPrograms, signal);
}

export async function readDeviceChains(
  netlink: NetlinkConnection,
  links: readonly LinkPrograms[],
  signal: AbortSignal,
): Promise<readonly Chain[]> {
  const dump = readDump(netlink, dumpQdiscs(), trafficType.newQdisc, decodeQdisc, signal);
  const qdiscs = (await orAbsent(dump, absent)) ?? [];
  // Only `ingress` and `clsact` have the handle, and filters on these sides.
  const sides = new Map(
    qdiscs.filter(({ handle }) => handle === ingressHandle).map(({ index, kind }) => [index, kind]),
  );
  const givingBack = new Set(links.filter((link) => link.givesBack).map((link) => link.index));
  const givesBack = (index: number) => givingBack.has(index);
  const chains: Chain[] = [];
  for (const { index, name, xdp } of links) {
    if (name === "lo") continue;
    if (xdp !== undefined) chains.push(xdpChain(name, xdp));
    for (const qdisc of qdiscs) {
      const chain = qdisc.index === index ? qdiscChain(name, qdisc) : undefined;
      if (chain !== undefined) chains.push(chain);
    }
    for (const place of Object.keys(filterPlaces) as FilterPlace[])
      if (place === "root" || hasFilters(sides.get(index), place))
        chains.push(
          ...filterChains(name, place, await readFilters(netlink, index, place, signal), givesBack),
        );
  }
  return chains;
}

/** An `ingress` qdisc has filters on ingress only, even if egress is requested. */
function hasFilters(kind: string | undefined, place: FilterPlace): boolean {
  return kind === "clsact" || (kind !== undefined && place === "ingress");
}

async function readFilters(
  netlink: NetlinkConnection,
  index: number,
  place: FilterPlace,
  signal: AbortSignal,
): Promise<readonly Filter[]> {
  const request = dumpFilters(index, filterPlaces[place]);
  const dump = readDump(netlink, request, trafficType.newFilter, decodeFilter, signal);
  return ((await orAbsent(dump, absent)) ?? []).filter((filter) => filter !== undefined);
}

/** A device was removed since the links were read, or the kernel has no such qdiscs. */
const absent = ["ENODEV", "EINVAL", "EOPNOTSUPP"];
