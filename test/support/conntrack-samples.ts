/** Short forms of programs, networks and flows, for tests about conntrack. */
import type { Flow, Tuple } from "../../lib/conntrack/flow.ts";
import type { Cidr, Ip } from "../../lib/model/ip.ts";
import { ipv4, parseCidr, parseIp } from "../../lib/model/ipv4.ts";
import { parseInterfaceName } from "../../lib/model/names.ts";
import type { ObservedNetwork, ObservedRoute } from "../../lib/model/observed.ts";
import type { Program, ProgramDnat, ProgramEip, SnatPool } from "../../lib/model/program.ts";
import type { Protocol } from "../../lib/model/schema.ts";

export const ip = (text: string): Ip => parsed(parseIp(text), text);
export const cidr = (text: string): Cidr => parsed(parseCidr(text), text);
export const nic = (text: string) => parsed(parseInterfaceName(text), text);

const protocols: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, gre: 47, sctp: 132 };

/**
 * A flow by its two tuples, the reply second: `"tcp 198.51.100.7:4000 203.0.113.10:80 | 10.0.1.5:80
 * 198.51.100.7:4000"`. Without the second one nothing is translated. ICMP has no ports.
 */
export function flow(text: string, more: Partial<Flow> = {}): Flow {
  const [first = "", second] = text.split(" | ");
  const [protocol = "", source = "", destination = ""] = first.split(" ");
  const original = tuple(source, destination);
  const [from = destination, to = source] = second?.split(" ") ?? [];
  const icmp = protocol === "icmp" ? { icmp: { type: 8, code: 0, id: 77 } } : {};
  const number = parsed(protocols[protocol], protocol);
  return { protocol: number, original, reply: tuple(from, to), status: 0, zone: 0, id: 1, ...icmp, ...more };
}

export interface SampleProgram {
  readonly eips?: readonly string[];
  /** EIPs whose address is not held. */
  readonly unbound?: readonly string[];
  /** EIP to internal IP. The first one of an internal IP is the oldest. */
  readonly fips?: readonly (readonly [eip: string, internalIp: string])[];
  /** `"203.0.113.10:80/tcp"` to backends `"10.0.1.5:80"`. */
  readonly dnats?: readonly (readonly [service: string, ...backends: string[]])[];
  readonly snats?: readonly (readonly [eip: string, cidr: string])[];
  readonly routes?: readonly (readonly [destination: string, via: string, nic: string])[];
  readonly defaultGateway?: string;
}

/** The caller must avoid clashes. EIPs used by objects need not be listed. */
export function program(sample: SampleProgram): Program {
  const { fips = [], dnats = [], snats = [], routes = [] } = sample;
  const users = [...fips.map(([eip]) => eip), ...dnats.map(([service]) => split(service)[0])];
  const eips = new Set([...(sample.eips ?? []), ...users, ...snats.map(([eip]) => eip)]);
  const unbound = new Set(sample.unbound);
  const outward = new Set<string>();
  return {
    family: ipv4,
    vpcInterface: nic("eth0"),
    externalInterface: nic("net1"),
    defaultGateway: sample.defaultGateway === undefined ? undefined : ip(sample.defaultGateway),
    eips: [...eips.difference(unbound)].map(eipOf),
    unboundEips: [...unbound].map(eipOf),
    fips: fips.map(([eip, internalIp]) => {
      const isOutward = !outward.has(internalIp);
      outward.add(internalIp);
      return { id: `fips/${eip}` as const, eip: ip(eip), internalIp: ip(internalIp), isOutward };
    }),
    dnats: dnats.map(([service, ...backends]) => dnat(service, backends)),
    pools: pools(snats),
    routes: routes.map(([destination, via, name]) => ({
      id: `routes/${destination}` as const,
      destination: cidr(destination),
      via: ip(via),
      interface: nic(name),
    })),
  };
}

/** The lab's gateway: 10.0.0.0/16 behind eth0, the Internet behind net1, EIPs not yet among the addresses. */
export const network: ObservedNetwork = {
  links: [],
  addresses: [
    address("eth0", "10.0.1.254", 24),
    address("net1", "203.0.113.254", 24),
    address("lo", "127.0.0.1", 8),
  ],
  routes: [
    route("local", "10.0.1.254/32", "eth0"),
    route("local", "203.0.113.254/32", "net1"),
    route("local", "127.0.0.0/8", "lo"),
    route("broadcast", "10.0.1.255/32", "eth0"),
    route("broadcast", "203.0.113.255/32", "net1"),
    route("unicast", "10.0.1.0/24", "eth0"),
    route("unicast", "203.0.113.0/24", "net1"),
    route("unicast", "10.0.0.0/16", "eth0", "10.0.1.1"),
    route("unicast", "0.0.0.0/0", "net1", "203.0.113.1"),
  ],
  sysctls: new Map(),
};

export function route(type: ObservedRoute["type"], destination: string, name: string, via?: string) {
  return {
    table: type === "unicast" || type === "other" ? 254 : 255,
    type,
    destination: cidr(destination),
    via: via === undefined ? undefined : ip(via),
    interface: type === "other" ? undefined : nic(name),
    protocol: 2,
    metric: 0,
    isOnlink: false,
  } satisfies ObservedRoute;
}

function address(name: string, text: string, prefixLength: number) {
  return { interface: nic(name), address: ip(text), prefixLength, isSecondary: false, label: "" };
}

function eipOf(eip: string): ProgramEip {
  return { id: `eips/${eip}`, address: ip(eip), prefixLength: 24, interface: nic("net1") };
}

function dnat(service: string, backends: readonly string[]): ProgramDnat {
  const [eip, rest] = split(service);
  const [port = "", protocol = ""] = rest.split("/");
  const [first, ...others] = backends.map((backend) => {
    const [host, internalPort] = split(backend);
    return { ip: ip(host), port: Number(internalPort) };
  });
  return {
    id: `dnats/${service}`,
    eip: ip(eip),
    protocol: protocol as Protocol,
    externalPort: Number(port),
    backends: [parsed(first, service), ...others],
  };
}

/** By CIDR, longest prefix first. */
function pools(snats: readonly (readonly [eip: string, cidr: string])[]): readonly SnatPool[] {
  const byCidr = Map.groupBy(snats, ([, text]) => cidr(text));
  return [...byCidr]
    .map(([key, members]) => {
      const [first, ...others] = members.map(([eip]) => ({
        id: `snats/${eip}-${key}` as const,
        eip: ip(eip),
        mapping: "random" as const,
      }));
      // A /32 has one client, so it has one member.
      return {
        cidr: key,
        interface: nic("net1"),
        members: [parsed(first, key), ...(key.endsWith("/32") ? [] : others)] as const,
      };
    })
    .sort((a, b) => length(b.cidr) - length(a.cidr));
}

function length(text: Cidr): number {
  return Number(split(text, "/")[1]);
}

function tuple(source: string, destination: string): Tuple {
  const [from, sourcePort] = split(source);
  const [to, destinationPort] = split(destination);
  return {
    source: ip(from),
    destination: ip(to),
    sourcePort: Number(sourcePort),
    destinationPort: Number(destinationPort),
  };
}

function split(text: string, at = ":"): readonly [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ""] : [text.slice(0, index), text.slice(index + 1)];
}

function parsed<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new TypeError(`cannot read ${text}`);
  return value;
}
