/** Short forms of the addresses that tests connect to. */
import type { Target } from "./host-program.ts";
import { labAddresses } from "./lab.ts";

export function tcp(address: string, port = 80): Target {
  return { transport: "tcp", address, port };
}

export function udp(address: string, port = 53): Target {
  return { transport: "udp", address, port };
}

/** The outside host's services. */
export const outsideTcp = tcp(labAddresses.outside);
export const outsideUdp = udp(labAddresses.outside);

/** The desired set's gateway in every lab. */
export const gateway = { defaultGateway: labAddresses.outside };

/** An Eip on the lab's external network, named after its last byte: `eip-10`. */
export function eip(lastByte: number): { readonly name: string; readonly address: string } {
  return { name: `eip-${lastByte}`, address: `${eipAddress(lastByte)}/24` };
}

/** A DNAT of EIP 11 to the second pod. */
export const webDnat = {
  name: "web",
  eip: "eip-11",
  protocol: "tcp",
  externalPort: 8080,
  internalIp: "10.0.1.6",
  internalPort: 80,
};

export function eipAddress(lastByte: number): string {
  return `203.0.113.${lastByte}`;
}
