/** Reads the devices of this namespace with their qdiscs and classes. */
import { GatewayError } from "../../../lib/model/errors.ts";
import { type InterfaceName, parseInterfaceName } from "../../../lib/model/names.ts";
import { decodeNamedLink, type NamedLink } from "../../../lib/netlink/rtnetlink-alternative-names.ts";
import { dumpLinks, newLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { type ClassCounts, type ObservedDevice, queueText } from "../../../lib/plan/qos/observed.ts";
import { isScriptRoot } from "../../../lib/plan/qos/scripted.ts";
import { quantumDivisor } from "../../../lib/plan/qos/steps.ts";
import { majorOf, minorOf, ownHandle, ownMajor, rootParent } from "../../../lib/tc/handles.ts";
import {
  type ClassStatistics,
  type DecodedClass,
  decodeClass,
  dumpClasses,
} from "../../../lib/tc/htb-class.ts";
import { decodeQdisc, dumpQdiscs, type Qdisc } from "../../../lib/tc/qdisc.ts";
import { trafficType } from "../../../lib/tc/traffic-control.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";

export interface DevicesRead {
  readonly devices: ReadonlyMap<InterfaceName, ObservedDevice>;
  readonly indexes: ReadonlyMap<InterfaceName, number>;
  readonly counts: ClassCounts;
}

/** Classes are read only where the root qdisc is the agent's. */
export async function readDevices(netlink: NetlinkConnection, signal: AbortSignal): Promise<DevicesRead> {
  const links = await readDump(netlink, dumpLinks(), newLink, decodeNamedLink, signal);
  const qdiscs = await readDump(netlink, dumpQdiscs(), trafficType.newQdisc, decodeQdisc, signal);
  const devices = new Map<InterfaceName, ObservedDevice>();
  const indexes = new Map<InterfaceName, number>();
  const counts = new Map<InterfaceName, ReadonlyMap<number, ClassStatistics>>();
  for (const link of links) {
    const name = parseInterfaceName(link.name);
    if (name === undefined) continue;
    indexes.set(name, link.index);
    const own = qdiscs.filter((qdisc) => qdisc.index === link.index);
    const root = rootOf(own.find(({ parent }) => parent === rootParent));
    const decoded = root === "ours" ? await readClasses(netlink, link.index, signal) : noClasses;
    devices.set(name, deviceOf(link, root, decoded, own));
    if (root === "ours") counts.set(name, countsOf(decoded, own));
  }
  return { devices, indexes, counts };
}

const noClasses: ReadonlyMap<number, DecodedClass> = new Map();

function deviceOf(
  { alternativeNames }: NamedLink,
  root: ObservedDevice["root"],
  decoded: ReadonlyMap<number, DecodedClass>,
  qdiscs: readonly Qdisc[],
): ObservedDevice {
  const queues = new Map<number, string>();
  for (const { parent, kind, limitBytes } of root === "ours" ? qdiscs : [])
    if (majorOf(parent) === ownMajor && parent !== rootParent)
      queues.set(minorOf(parent), queueText(kind, limitBytes));
  return { alternativeNames, root, classes: mapValues(decoded, ({ class: one }) => one), queues };
}

/** HTB counts what a queue refuses. What fq_codel takes first and drops later only the queue itself counts. */
function countsOf(
  decoded: ReadonlyMap<number, DecodedClass>,
  qdiscs: readonly Qdisc[],
): ReadonlyMap<number, ClassStatistics> {
  const counts = new Map(mapValues(decoded, ({ statistics }) => statistics));
  for (const { parent, dropped = 0 } of qdiscs) {
    const counted = majorOf(parent) === ownMajor ? counts.get(minorOf(parent)) : undefined;
    if (counted !== undefined && dropped > counted.dropped)
      counts.set(minorOf(parent), { ...counted, dropped });
  }
  return counts;
}

function mapValues<K, V, W>(map: ReadonlyMap<K, V>, make: (value: V) => W): ReadonlyMap<K, W> {
  return new Map(Array.from(map, ([key, value]) => [key, make(value)]));
}

/** What the kernel attaches by itself has no handle. */
function rootOf(root: Qdisc | undefined): ObservedDevice["root"] {
  if (root === undefined || majorOf(root.handle) === 0) return "default";
  const { kind, handle, defaultClass } = root;
  if (handle === ownHandle(0) && isScriptRoot(root)) return "script";
  const isOurs =
    kind === "htb" && handle === ownHandle(0) && defaultClass === 0 && root.quantumDivisor === quantumDivisor;
  return isOurs ? "ours" : "foreign";
}

/** The classes of a device's HTB by minor number. */
export async function readClasses(
  netlink: NetlinkConnection,
  index: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<number, DecodedClass>> {
  try {
    const classes = await readDump(netlink, dumpClasses(index), trafficType.newClass, decodeClass, signal);
    return new Map(classes.flatMap((one) => (one === undefined ? [] : [[one.class.minor, one]])));
  } catch (error) {
    // The device was removed since the links were read: its event wakes the next pass.
    if (error instanceof GatewayError && error.details.code === "ENODEV") return new Map();
    throw error;
  }
}
