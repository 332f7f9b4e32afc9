/** Short forms of specs as JSON. */

export function eip(name: string, host: number, more: Record<string, unknown> = {}) {
  return { name, address: `203.0.113.${host}/24`, ...more };
}

export function fip(name: string, eip: string, internalIp = "10.0.1.5") {
  return { name, eip, internalIp };
}

export function dnat(name: string, eip: string, externalPort = 80, more: Record<string, unknown> = {}) {
  const target = "backends" in more ? {} : { internalIp: "10.0.1.7", internalPort: 8080 };
  return { name, eip, protocol: "tcp", externalPort, ...target, ...more };
}

export function snat(
  name: string,
  eip: string,
  internalCIDR = "10.0.1.0/24",
  more: Record<string, unknown> = {},
) {
  return { name, eip, internalCIDR, ...more };
}

export function route(name: string, destination: string, more: Record<string, unknown> = {}) {
  return { name, destination, via: "10.0.1.1", ...more };
}

export function limit(name: string, more: Record<string, unknown>) {
  return { name, direction: "egress", rateMbit: 10, ...more };
}
