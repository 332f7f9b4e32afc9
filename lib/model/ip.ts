/**
 * IPv4 addresses, networks and interface addresses as value types.
 *
 * All three are canonical strings under a brand: equal values are equal strings, so they are map keys, JSON
 * and log fields as they are. Only the parsers of this file mint them. Arithmetic goes through {@link toU32}.
 */

declare const brand: unique symbol;

/** A canonical dotted quad, `"10.0.1.5"`. */
export type Ip = string & { readonly [brand]: "Ip" };
/** A network with its host bits masked, `"10.0.0.0/16"`. */
export type Cidr = string & { readonly [brand]: "Cidr" };
/** An address with the prefix length of its subnet, host bits kept, `"203.0.113.10/24"`. */
export type InterfaceAddress = string & { readonly [brand]: "InterfaceAddress" };

const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const quad = `${octet}(?:\\.${octet}){3}`;

/** Regular expression source of {@link Ip}, shared with the schemas. No leading zeros: they mean octal elsewhere. */
export const ipPattern = `^${quad}$`;
/** Regular expression source of an address with a prefix length, 0 to 32. */
export const cidrPattern = `^${quad}/(?:3[0-2]|[12]?[0-9])$`;

const ipRegex = new RegExp(ipPattern);
const cidrRegex = new RegExp(cidrPattern);

/** Parses a dotted quad; `undefined` where the text is anything else. */
export function parseIp(text: string): Ip | undefined {
  return ipRegex.test(text) ? (text as Ip) : undefined;
}

/** Parses `address/prefix` and masks the host bits, so that `10.0.1.9/24` becomes `10.0.1.0/24`. A bare address is a /32. */
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

/** The network of `prefixLength` bits that holds `address`. */
export function makeCidr(address: Ip, prefixLength: number): Cidr {
  if (prefixLength === 32) return `${address}/32` as Cidr;
  return `${fromU32(maskU32(toU32(address), prefixLength))}/${prefixLength}` as Cidr;
}

/** An address in its subnet; `prefixLength` is 0 to 32. */
export function makeInterfaceAddress(address: Ip, prefixLength: number): InterfaceAddress {
  return `${address}/${prefixLength}` as InterfaceAddress;
}

/** The address as an unsigned 32-bit integer, network byte order read as a number. */
export function toU32(address: Ip): number {
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
  return value * 256 + part;
}

/** The inverse of {@link toU32}; bits above 32 are ignored. */
export function fromU32(value: number): Ip {
  return `${(value >>> 24) & 255}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as Ip;
}

/** The address part of a network or an interface address. */
export function addressOf(cidr: Cidr | InterfaceAddress): Ip {
  return cidr.slice(0, cidr.indexOf("/")) as Ip;
}

/** The prefix length, 0 to 32. */
export function prefixLengthOf(cidr: Cidr | InterfaceAddress): number {
  return Number(cidr.slice(cidr.indexOf("/") + 1));
}

/** The subnet that an interface address lies in. */
export function networkOf(address: InterfaceAddress): Cidr {
  const [ip, length] = split(address);
  return makeCidr(ip, length);
}

/** First and last address as unsigned integers, both inclusive. */
export function rangeOf(cidr: Cidr): readonly [first: number, last: number] {
  const [ip, length] = split(cidr);
  const first = toU32(ip);
  return [first, first + 2 ** (32 - length) - 1];
}

/** True where `address` lies in `cidr`. */
export function contains(cidr: Cidr, address: Ip): boolean {
  const [ip, length] = split(cidr);
  return maskU32(toU32(address), length) === toU32(ip);
}

/** The netmask of a prefix length as an unsigned integer. */
export function netmaskU32(prefixLength: number): number {
  return prefixLength === 0 ? 0 : (0xffffffff << (32 - prefixLength)) >>> 0;
}

/**
 * The network and broadcast address of a subnet, which no host may hold; `undefined` for /31 and /32, where
 * every address is a host's (RFC 3021).
 */
export function reservedOf(cidr: Cidr): { readonly network: Ip; readonly broadcast: Ip } | undefined {
  if (prefixLengthOf(cidr) >= 31) return undefined;
  const [first, last] = rangeOf(cidr);
  return { network: fromU32(first), broadcast: fromU32(last) };
}

/**
 * Whether an interface address is its own subnet's network or broadcast address; `undefined` where a host may hold it.
 * The same verdict as {@link reservedOf}, without making the addresses.
 */
export function reservedRoleOf(address: InterfaceAddress): "network" | "broadcast" | undefined {
  const [ip, length] = split(address);
  if (length >= 31) return undefined;
  const hostMask = ~netmaskU32(length) >>> 0;
  const host = (toU32(ip) & hostMask) >>> 0;
  return host === 0 ? "network" : host === hostMask ? "broadcast" : undefined;
}

/** 127.0.0.0/8, which never leaves a host. */
export function isLoopback(address: Ip): boolean {
  return address.startsWith("127.");
}

/** True where the address can be one host's: not 0.0.0.0/8, loopback, multicast, reserved or limited broadcast. */
export function isUnicast(address: Ip): boolean {
  const first = Number.parseInt(address, 10);
  return first !== 0 && first !== 127 && first < 224;
}

function maskU32(value: number, prefixLength: number): number {
  return (value & netmaskU32(prefixLength)) >>> 0;
}

function split(cidr: string): readonly [Ip, number] {
  const slash = cidr.indexOf("/");
  return [cidr.slice(0, slash) as Ip, Number(cidr.slice(slash + 1))];
}
