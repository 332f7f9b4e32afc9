/**
 * Which device a packet leaves by, as far as the conntrack predicate needs it. Rules with `-o net1` or `-o eth0` depend
 * on routing, and a conntrack entry has no device.
 *
 * Follows the kernel's order: first the local table, then the main table by longest prefix and lowest metric. Other
 * tables (policy routing) are not consulted. Routes of the program override observed ones: if a link flap removes the
 * default route for a moment, SNAT flows must not look foreign.
 */
import { type Chunked, everyNth } from "../chunked.ts";
import type { AddressValue } from "../model/family.ts";
import type { Cidr } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ObservedNetwork, ObservedRoute } from "../model/observed.ts";
import { ownedNextHop, type Program } from "../model/program.ts";
import { PrefixTable } from "./prefix-table.ts";

/** A device number, from 1. 0 and below have special meanings. */
export type Device = number;
/** Unknown: no route, or a route without a single device. */
export const unrouted: Device = 0;
/** Local, broadcast or multicast. Such a flow does not pass POSTROUTING towards a device. */
export const notUnicast: Device = -1;

export interface Routing {
  /** The device to `address`, {@link unrouted} or {@link notUnicast}. */
  towards(address: AddressValue): Device;
  /** True for the gateway's own addresses, including EIPs. */
  isLocal(address: AddressValue): boolean;
  /** The number of a device. A device without routes also gets one. */
  deviceOf(name: InterfaceName): Device;
}

/** Compiles routes and addresses. A lookup costs one map access for each prefix length in use. */
export function* compileRouting(program: Program, network: ObservedNetwork): Chunked<Routing> {
  const devices = new Map<InterfaceName, Device>();
  const deviceOf = (name: InterfaceName): Device => {
    const device = devices.get(name) ?? devices.size + 1;
    devices.set(name, device);
    return device;
  };
  const { isNeverUnicast } = program.family;
  const own = yield* compileOwn(program, network);
  const main = yield* compileMain(program, network, deviceOf);

  return {
    deviceOf,
    isLocal: (address) => own.longest(address) === "local",
    towards: (address) => {
      if (isNeverUnicast(address) || own.longest(address) !== undefined) return notUnicast;
      return main.longest(address) ?? unrouted;
    },
  };
}

/** The local table, with the EIPs that are about to be added. */
function* compileOwn(
  program: Program,
  network: ObservedNetwork,
): Chunked<PrefixTable<"local" | "broadcast">> {
  const isDue = everyNth(notedAtOnce);
  const { family } = program;
  const own = new PrefixTable<"local" | "broadcast">(family);
  own.set(family.loopback, "local");
  for (const route of network.routes) {
    if (isDue()) yield;
    if (route.type === "local" || route.type === "broadcast") own.set(route.destination, route.type);
  }
  for (const addresses of [network.addresses, program.eips])
    for (const { address } of addresses) {
      if (isDue()) yield;
      own.setAround(family.toValue(address), family.bits, "local");
    }
  return own;
}

function* compileMain(
  program: Program,
  network: ObservedNetwork,
  deviceOf: (name: InterfaceName) => Device,
): Chunked<PrefixTable<Device>> {
  const { family } = program;
  const isDue = everyNth(notedAtOnce);
  const main = new PrefixTable<Device>(family);
  for (const { address, prefixLength, interface: name } of network.addresses) {
    if (isDue()) yield;
    main.setAround(family.toValue(address), prefixLength, deviceOf(name));
  }
  const best = new Map<Cidr, ObservedRoute>();
  for (const route of network.routes) {
    if (isDue()) yield;
    if (route.table !== mainTable || route.type === "local" || route.type === "broadcast") continue;
    const known = best.get(route.destination);
    if (known === undefined || route.metric < known.metric) best.set(route.destination, route);
  }
  for (const { destination, type, interface: name } of best.values()) {
    if (isDue()) yield;
    main.set(destination, type === "unicast" && name !== undefined ? deviceOf(name) : unrouted);
  }
  for (const route of program.routes) {
    if (isDue()) yield;
    main.set(route.destination, deviceOf(route.interface));
  }
  if (ownedNextHop(program, network) !== undefined) {
    main.set(family.everything, deviceOf(program.externalInterface));
  }
  return main;
}

const mainTable = 254;
/** Takes a few milliseconds. */
const notedAtOnce = 4_000;
