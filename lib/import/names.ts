/** The names of imported objects: what they are in the kernel. Whoever reads the kernel twice finds the same names. */
import { addressOf, type Cidr, type Ip, prefixLengthOf } from "../model/ip.ts";
import type { ObjectName } from "../model/names.ts";
import type { Protocol } from "../model/schema.ts";

/** `203.0.113.10`: of an Eip, and of its FIP. */
export function eipName(eip: Ip): ObjectName {
  return nameOf(eip);
}

/** `203.0.113.11-10.0.1.0-24`. */
export function snatName(eip: Ip, cidr: Cidr): ObjectName {
  return nameOf(`${eip}-${routeName(cidr)}`);
}

/** `203.0.113.11-tcp-8080`. */
export function dnatName(eip: Ip, protocol: Protocol, externalPort: number): ObjectName {
  return nameOf(`${eip}-${protocol}-${externalPort}`);
}

/** `10.0.0.0-16`. */
export function routeName(destination: Cidr): ObjectName {
  return nameOf(`${addressOf(destination)}-${prefixLengthOf(destination)}`);
}

/** An IPv6 address has colons, which no name has. */
function nameOf(text: string): ObjectName {
  return text.replaceAll(":", "-") as ObjectName;
}
