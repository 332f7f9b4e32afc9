/** Reads what Kube-OVN's script made with tc: classes and filters of root qdiscs `1:`, and filters of ingress qdiscs. */
import { type InterfaceName, parseInterfaceName } from "../../../lib/model/names.ts";
import { decodeNamedLink } from "../../../lib/netlink/rtnetlink-alternative-names.ts";
import { dumpLinks, newLink } from "../../../lib/netlink/rtnetlink-links.ts";
import type { ScriptedDevice, ScriptedQos } from "../../../lib/plan/qos/scripted.ts";
import { quantumDivisor } from "../../../lib/plan/qos/steps.ts";
import { dumpFilters } from "../../../lib/tc/filter-parts.ts";
import { ingressHandle, ownHandle, rootParent } from "../../../lib/tc/handles.ts";
import { decodeLimitFilter } from "../../../lib/tc/limit-filter.ts";
import { decodeQdisc, dumpQdiscs } from "../../../lib/tc/qdisc.ts";
import { trafficType } from "../../../lib/tc/traffic-control.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";
import { readClasses } from "./traffic-control.ts";

export async function readScripted(netlink: NetlinkConnection, signal: AbortSignal): Promise<ScriptedQos> {
  const links = await readDump(netlink, dumpLinks(), newLink, decodeNamedLink, signal);
  const qdiscs = await readDump(netlink, dumpQdiscs(), trafficType.newQdisc, decodeQdisc, signal);
  const devices = new Map<InterfaceName, ScriptedDevice>();
  const filtersOf = async (index: number, parent: number) => {
    const message = dumpFilters(index, parent);
    const filters = await readDump(netlink, message, trafficType.newFilter, decodeLimitFilter, signal);
    return filters.filter((filter) => filter !== undefined);
  };
  for (const { name: text, index } of links) {
    const name = parseInterfaceName(text);
    const own = qdiscs.filter((qdisc) => qdisc.index === index);
    const hasRoot = own.some(
      ({ kind, handle, parent, ...root }) =>
        kind === "htb" &&
        handle === ownHandle(0) &&
        parent === rootParent &&
        root.quantumDivisor !== quantumDivisor,
    );
    const hasIngress = own.some(({ handle }) => handle === ingressHandle);
    if (name === undefined || !(hasRoot || hasIngress)) continue;
    const classes = hasRoot ? await readClasses(netlink, index, signal) : new Map();
    devices.set(name, {
      classes: new Map(Array.from(classes, ([minor, decoded]) => [minor, decoded.class])),
      filters: hasRoot ? await filtersOf(index, ownHandle(0)) : [],
      ingress: hasIngress ? await filtersOf(index, ingressHandle) : [],
    });
  }
  return devices;
}
