/** IPv4. Everything specific to IPv4 is in this file; the rest of the program takes the family as a value. */
import type { AddressKey, AddressValue, Family } from "./family.ts";
import { type Cidr, type InterfaceAddress, type Ip, prefixLengthOf } from "./ip.ts";
import type { SysctlKey } from "./observed.ts";

/** An {@link AddressValue} of IPv4: an unsigned 32-bit integer (network byte order read as a number). */
export type U32 = AddressValue & number;

const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const quad = `${octet}(?:\\.${octet}){3}`;

/**
 * Regular expression source of {@link Ip}, shared with the schemas. No leading zeros: other software reads them as
 * octal.
 */
export const ipPattern = `^${quad}$`;
/** Regular expression source of an address with a prefix length, 0 to 32. */
export const cidrPattern = `^${quad}/(?:3[0-2]|[12]?[0-9])$`;

const ipRegex = new RegExp(ipPattern);
const cidrRegex = new RegExp(cidrPattern);

/** Parses a dotted quad. `undefined` for any other text. */
export function parseIp(text: string): Ip | undefined {
  return ipRegex.test(text) ? (text as Ip) : undefined;
}

/** Parses `address/prefix` and masks the host bits: `10.0.1.9/24` becomes `10.0.1.0/24`. A bare address is a /32. */
export function parseCidr(text: string): Cidr | undefined {
  if (ipRegex.test(text)) return `${text}/32` as Cidr;
  if (!cidrRegex.test(text)) return undefined;
  const [address, length] = split(text);
  return makeCidr(address, length);
}

/** Parses `address/prefix` and keeps the host bits. */
export function parseInterfaceAddress(text: string): InterfaceAddress | undefined {
  return cidrRegex.test(text) ? (text as InterfaceAddress) : undefined;
}

/** The network of `prefixLength` bits that contains `address`. */
export function makeCidr(address: Ip, prefixLength: number): Cidr {
  if (prefixLength === 32) return `${address}/32` as Cidr;
  return `${fromU32(maskU32(toU32(address), prefixLength))}/${prefixLength}` as Cidr;
}

/** The address as an unsigned 32-bit integer (network byte order read as a number). */
export function toU32(address: Ip): U32 {
  let value = 0;
  let part = 0;
  for (let index = 0; index < address.length; index++) {
    const code = address.charCodeAt(index);
    if (code === 46) {
      value = value * 256 + part;
      part = 0;
    } else {
      part = part * 10 + code - 48;
    }
  }
  return (value * 256 + part) as U32;
}

/** The inverse of {@link toU32}. Bits above 32 are ignored. */
export function fromU32(value: number): Ip {
  return `${(value >>> 24) & 255}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as Ip;
}

/** The subnet of an interface address. */
export function networkOf(address: InterfaceAddress): Cidr {
  const [ip, length] = split(address);
  return makeCidr(ip, length);
}

/** First and last address as unsigned integers, both inclusive. */
export function rangeOf(cidr: Cidr): readonly [first: U32, last: U32] {
  const [ip, length] = split(cidr);
  const first = toU32(ip);
  return [first, (first + 2 ** (32 - length) - 1) as U32];
}

/** True if `cidr` contains `address`. */
export function contains(cidr: Cidr, address: Ip): boolean {
  const [ip, length] = split(cidr);
  return maskU32(toU32(address), length) === toU32(ip);
}

/** The netmask of a prefix length as an unsigned integer. */
export function netmaskU32(prefixLength: number): U32 {
  return (prefixLength === 0 ? 0 : (0xffffffff << (32 - prefixLength)) >>> 0) as U32;
}

/**
 * The network and broadcast address of a subnet, which no host may hold. `undefined` for /31 and /32, where every
 * address can be a host's (RFC 3021).
 */
export function reservedOf(cidr: Cidr): { readonly network: Ip; readonly broadcast: Ip } | undefined {
  if (prefixLengthOf(cidr) >= 31) return undefined;
  const [first, last] = rangeOf(cidr);
  return { network: fromU32(first), broadcast: fromU32(last) };
}

/**
 * Whether an interface address is the network or broadcast address of its own subnet. `undefined` if a host may hold
 * it. The same result as {@link reservedOf}, without creating addresses.
 */
export function reservedRoleOf(address: InterfaceAddress): "network" | "broadcast" | undefined {
  const [ip, length] = split(address);
  if (length >= 31) return undefined;
  const hostMask = ~netmaskU32(length) >>> 0;
  const host = (toU32(ip) & hostMask) >>> 0;
  return host === 0 ? "network" : host === hostMask ? "broadcast" : undefined;
}

/** True in 127.0.0.0/8. Such addresses never leave a host. */
export function isLoopback(address: Ip): boolean {
  return address.startsWith("127.");
}

/** True if a host can have the address: not 0.0.0.0/8, loopback, multicast, reserved or limited broadcast. */
export function isUnicast(address: Ip): boolean {
  const first = Number.parseInt(address, 10);
  return first !== 0 && first !== 127 && first < 224;
}

/** True in 0.0.0.0/8 and from 224.0.0.0: multicast, reserved and limited broadcast. */
function isNeverUnicast(address: U32): boolean {
  const first = address >>> 24;
  return first === 0 || first >= 224;
}

/** 0.0.0.0/0 and its halves contain host addresses, although their own address is none. */
function holdsHosts(cidr: Cidr): boolean {
  const [network, prefixLength] = split(cidr);
  const masked = maskU32(toU32(network), prefixLength);
  return isUnicast(fromU32(masked)) || (prefixLength < 8 && masked < firstMulticast);
}

const firstMulticast = 0xe0000000;

function maskU32(value: number, prefixLength: number): number {
  return (value & netmaskU32(prefixLength)) >>> 0;
}

function split(cidr: string): readonly [Ip, number] {
  const slash = cidr.indexOf("/");
  return [cidr.slice(0, slash) as Ip, Number(cidr.slice(slash + 1))];
}

const format: (value: U32) => Ip = fromU32;

export const ipv4: Family = {
  name: "IPv4",
  version: 4,
  number: 2,
  bits: 32,
  hostSuffix: "/32",
  hasRuleParser: true,
  answersByRoute: true,

  addressPattern: ipPattern,
  cidrPattern,
  owns: (text) => !text.includes(":"),
  parse: parseIp,
  parseCidr,
  parseEndpoint(text) {
    const colon = text.indexOf(":");
    const address = parseIp(colon < 0 ? text : text.slice(0, colon));
    return address && { address, port: colon < 0 ? undefined : text.slice(colon + 1) };
  },
  endpoint: (address, port) => `${address}:${port}`,
  mentionOf: (address) => new RegExp(`(?<![0-9.])${address.replaceAll(".", "\\.")}(?![0-9.])`),

  everything: makeCidr(fromU32(0), 0),
  loopback: makeCidr(fromU32(0x7f000000), 8),
  widestNetwork: 8,
  isUnicast,
  isNeverUnicast,
  holdsHosts,
  makeCidr,
  networkOf,
  contains,
  reservedOf,
  reservedRoleOf,

  zero: 0 as U32,
  toValue: toU32,
  format,
  rangeOf,
  plus: (value: U32, count) => (value + count) as U32,
  count: (first: U32, last: U32) => last - first + 1,
  and: (one: U32, other: U32) => ((one & other) >>> 0) as U32,
  modulo: (value: U32, modulus) => value % modulus,
  netmask: netmaskU32,
  lengthOfMask(mask: U32) {
    const length = Math.clz32(~mask);
    return netmaskU32(length) === mask ? length : undefined;
  },
  bucketMask: (prefixLength, buckets) => ((netmaskU32(prefixLength) | (buckets - 1)) >>> 0) as U32,
  // Signed: V8 hashes such small integers in compiled code; unsigned ones from 2^31 become floating-point keys.
  keyOf: (value: U32) => ((value as number) | 0) as number & AddressKey,
  maskedKey: (value: U32, mask: number & AddressKey) => ((value as number) & mask) as number & AddressKey,

  netfilterHeader: Uint8Array.of(2, 0, 0, 0),
  addressBytes: 4,
  read: (view, at) => view.getUint32(at) as U32,
  write(bytes, at, value: U32) {
    bytes[at] = value >>> 24;
    bytes[at + 1] = value >>> 16;
    bytes[at + 2] = value >>> 8;
    bytes[at + 3] = value;
  },
  icmp: 1,
  conntrack: { source: 1, destination: 2, icmpId: 4, icmpType: 5, icmpCode: 6 },
  // IFLA_INET_CONF, and IPV4_DEVCONF_* of include/uapi/linux/ip.h.
  link: { settings: 1, numbers: { forwarding: 1, rp_filter: 8, arp_ignore: 19, promote_secondaries: 20 } },

  iptables: "iptables",
  nft: { family: "ip", addressType: 7, sourceAt: 12, destinationAt: 16, ctSource: 19, ctDestination: 20 },
  sysctls: {
    forwarding: "net.ipv4.ip_forward",
    devices: "net.ipv4.conf",
    ofDevice: (device, setting) => `net.ipv4.conf.${device}.${setting}`,
    flowTimeouts: [
      "tcp_timeout_syn_sent",
      "tcp_timeout_syn_recv",
      "tcp_timeout_established",
      "tcp_timeout_max_retrans",
      "tcp_timeout_unacknowledged",
      "udp_timeout",
      "udp_timeout_stream",
      "icmp_timeout",
      "generic_timeout",
    ].map((name): SysctlKey => `net.netfilter.nf_conntrack_${name}`),
  },
};
