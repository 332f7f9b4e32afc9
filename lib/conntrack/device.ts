/**
 * Which device a packet leaves by, as far as the conntrack predicate must know: rules with `-o net1` or `-o eth0` cover
 * a flow by where it is routed, and an entry does not say.
 *
 * The kernel's order is kept: the local table first, then the main table by longest prefix and lowest metric. Other
 * tables (policy routing) are not consulted. What the program is about to route wins over what was observed: a
 * default route that a link flap took along for a moment must not make every SNAT flow look foreign.
 */
import type { AddressValue } from "../model/family.ts";
import type { Cidr } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ObservedNetwork, ObservedRoute } from "../model/observed.ts";
import type { Program } from "../model/program.ts";
import { PrefixTable } from "./prefix-table.ts";

/** A device by number, from 1; 0 and below have meanings of their own. */
export type Device = number;
/** No route, or one without a single device: unknown. */
export const unrouted: Device = 0;
/** Local, broadcast or multicast: POSTROUTING is not where such a flow ends. */
export const notUnicast: Device = -1;

export interface Routing {
  /** The device towards `address`, {@link unrouted} or {@link notUnicast}. */
  towards(address: AddressValue): Device;
  /** True for the gateway's own addresses, EIPs among them. */
  isLocal(address: AddressValue): boolean;
  /** The number of a device; one that nothing is routed to gets a number as well. */
  deviceOf(name: InterfaceName): Device;
}

/** Compiles routes and addresses; lookups cost a map access for each prefix length in use. */
export function compileRouting(program: Program, network: ObservedNetwork): Routing {
  const devices = new Map<InterfaceName, Device>();
  const deviceOf = (name: InterfaceName): Device => {
    const device = devices.get(name) ?? devices.size + 1;
    devices.set(name, device);
    return device;
  };
  const { isNeverUnicast } = program.family;
  const own = compileOwn(program, network);
  const main = compileMain(program, network, deviceOf);

  return {
    deviceOf,
    isLocal: (address) => own.longest(address) === "local",
    towards: (address) => {
      if (isNeverUnicast(address) || own.longest(address) !== undefined) return notUnicast;
      return main.longest(address) ?? unrouted;
    },
  };
}

/** The local table, and the EIPs that will be in it. */
function compileOwn(program: Program, network: ObservedNetwork): PrefixTable<"local" | "broadcast"> {
  const { family } = program;
  const own = new PrefixTable<"local" | "broadcast">(family);
  own.set(family.loopback, "local");
  for (const route of network.routes) {
    if (route.type === "local" || route.type === "broadcast") own.set(route.destination, route.type);
  }
  for (const { address } of network.addresses) own.setAround(family.toValue(address), family.bits, "local");
  for (const { address } of program.eips) own.setAround(family.toValue(address), family.bits, "local");
  return own;
}

function compileMain(
  program: Program,
  network: ObservedNetwork,
  deviceOf: (name: InterfaceName) => Device,
): PrefixTable<Device> {
  const { family } = program;
  const main = new PrefixTable<Device>(family);
  for (const { address, prefixLength, interface: name } of network.addresses) {
    main.setAround(family.toValue(address), prefixLength, deviceOf(name));
  }
  const best = new Map<Cidr, ObservedRoute>();
  for (const route of network.routes) {
    if (route.table !== mainTable || route.type === "local" || route.type === "broadcast") continue;
    const known = best.get(route.destination);
    if (known === undefined || route.metric < known.metric) best.set(route.destination, route);
  }
  for (const { destination, type, interface: name } of best.values()) {
    main.set(destination, type === "unicast" && name !== undefined ? deviceOf(name) : unrouted);
  }
  for (const route of program.routes) main.set(route.destination, deviceOf(route.interface));
  if (program.defaultGateway !== undefined) {
    main.set(family.everything, deviceOf(program.externalInterface));
  }
  return main;
}

const mainTable = 254;
