/** The small world of the scripts, the same as the lab: few addresses, so that collisions are frequent. */
import type { Ip } from "../../../lib/model/ip.ts";
import { parseCidr, parseIp } from "../../../lib/model/ipv4.ts";
import { type InterfaceName, parseInterfaceName } from "../../../lib/model/names.ts";
import type { ObservedRoute } from "../../../lib/model/observed.ts";
import { mainTable } from "../../../lib/plan/network/routes.ts";
import { labAddresses, podAddress } from "../lab.ts";

export function ip(text: string): Ip {
  const address = parseIp(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

/** A route as `ip route add` creates it. */
export function routeByHand(to: string, via: string, name: InterfaceName): ObservedRoute {
  const destination = parseCidr(to);
  if (destination === undefined) throw new Error(`not a network: ${to}`);
  return {
    table: mainTable,
    type: "unicast",
    destination,
    via: ip(via),
    interface: name,
    protocol: 3,
    metric: 0,
    isOnlink: false,
  };
}

function nic(text: string): InterfaceName {
  const name = parseInterfaceName(text);
  if (name === undefined) throw new Error(`not an interface: ${text}`);
  return name;
}

export const interfaces = { vpc: nic("eth0"), external: nic("net1") };
export const hosts = labAddresses;
export const pods = [ip(podAddress(1)), ip(podAddress(2))];
export const outside = ip(hosts.outside);
/** Addresses that Eips may ask for: four that are free, and those of the gateway, the next hop and the network. */
export const eipAddresses = [10, 11, 12, 13, 254, 1, 0].map((last) => ip(`203.0.113.${last}`));
/** Those of them that are free. */
export const ours: ReadonlySet<Ip> = new Set(eipAddresses.slice(0, 4));
/** Eips may ask for these too, although they take packets from the VPC's subnet. */
export const eclipsing = ["10.0.1.50/25", "10.0.1.51/24"] as const;
/** Addresses that other programs put on net1. No Eip asks for them. */
export const foreignAddresses = [200, 201].map((last) => ip(`203.0.113.${last}`));
/** A pod whose rules the kernel refuses, if the script says so. */
export const refusedPod = ip("10.0.1.66");
/** Ports that hosts of the lab serve, and the external ports of DNATs. */
export const services = { tcp: [80, 81], udp: [53, 53] } as const;
export const externalPorts = [80, 8080] as const;
export const cidrs = ["10.0.1.0/24", "10.0.0.0/16", "10.0.1.4/30", "10.0.1.5/32"] as const;
