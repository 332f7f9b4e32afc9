/** Names of objects that Kube-OVN's controller asks for: made of their identity, because the names of its resources never reach the pod. */
import type { Cidr, Ip } from "../model/ip.ts";
import { type InterfaceName, type ObjectName, parseObjectName } from "../model/names.ts";
import type { Protocol } from "../model/schema.ts";

export type Direction = "ingress" | "egress";

/** Also the name of a FIP, which has the identity of its EIP. */
export function eipName(eip: Ip): ObjectName {
  return named(eip);
}

export function snatName(eip: Ip, internalCIDR: Cidr): ObjectName {
  return named(`${eip}-${dashed(internalCIDR)}`);
}

export function dnatName(eip: Ip, protocol: Protocol, externalPort: number): ObjectName {
  return named(`${eip}-${protocol}-${externalPort}`);
}

export function routeName(destination: Cidr): ObjectName {
  return named(dashed(destination));
}

export function eipLimitName(eip: Ip, direction: Direction): ObjectName {
  return named(`${eip}-${direction}`);
}

/** @param match which packets: absent for all */
export function deviceLimitName(
  device: InterfaceName,
  direction: Direction,
  match: { readonly side: "src" | "dst"; readonly cidr: Cidr } | undefined,
): ObjectName {
  const packets = match === undefined ? "all" : `${match.side}-${dashed(match.cidr)}`;
  return named(`dev-${escaped(device)}-${direction}-${packets}`);
}

function dashed(cidr: Cidr): string {
  return cidr.replace("/", "-");
}

/** Names of interfaces may have characters that names of objects may not. */
function escaped(device: InterfaceName): string {
  return device.replaceAll(/[^a-z0-9]/g, (character) => `-${character.charCodeAt(0).toString(16)}-`);
}

function named(text: string): ObjectName {
  const name = parseObjectName(text);
  if (name === undefined) throw new TypeError(`not a name: ${text}`);
  return name;
}
