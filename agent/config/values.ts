/** Parsers for the text of settings. Each returns `undefined` if the text is invalid. */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { resolve } from "node:path";
import type { Ip } from "../../lib/model/ip.ts";
import { ipv4 } from "../../lib/model/ipv4.ts";

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** A duration in milliseconds: `200ms`, `30s`, `5m`, `1h`, or `0`. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * unitMs[unit as keyof typeof unitMs];
}

/** A parser for durations between two bounds, both inclusive. */
export function durationBetween(leastMs: number, mostMs: number) {
  return (text: string): number | undefined => {
    const durationMs = parseDurationMs(text);
    return durationMs !== undefined && durationMs >= leastMs && durationMs <= mostMs ? durationMs : undefined;
  };
}

/** A parser for whole numbers between two bounds, both inclusive. */
export function integerBetween(least: number, most: number) {
  return (text: string): number | undefined => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most ? value : undefined;
  };
}

const unitBytes = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** A parser for sizes such as `16MiB`, as bytes, between two bounds, both inclusive. */
export function sizeBetween(least: number, most: number) {
  return (text: string): number | undefined => {
    const [, digits, unit] = /^(\d{1,9})(KiB|MiB|GiB)$/.exec(text) ?? [];
    const bytes = Number(digits) * unitBytes[unit as keyof typeof unitBytes];
    return bytes >= least && bytes <= most ? bytes : undefined;
  };
}

/** An address on which the HTTP server listens. `host` is an IP address; IPv6 is without brackets. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const wildcards = new BlockList();
wildcards.addAddress("0.0.0.0", "ipv4");
wildcards.addAddress("::", "ipv6");

/**
 * Parses `host:port[,host:port]...`. A host is an IP address or `localhost`; other names are refused, so that DNS does
 * not decide where the API listens. Wildcards are refused: every EIP is a local address, so 0.0.0.0 exposes the API to
 * the Internet.
 */
export function parseEndpoints(text: string): readonly Endpoint[] | undefined {
  const endpoints = text.split(",").map((part) => parseEndpoint(part.trim()));
  if (!endpoints.every((endpoint) => endpoint !== undefined)) return undefined;
  const fixed = endpoints.filter(({ port }) => port !== 0).map(({ host, port }) => `${host} ${port}`);
  return new Set(fixed).size === fixed.length ? endpoints : undefined;
}

function parseEndpoint(text: string): Endpoint | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = plain?.toLowerCase() === "localhost" ? "127.0.0.1" : (bracketed ?? plain ?? "");
  const port = Number(digits);
  const isLiteral = bracketed === undefined ? isIPv4(host) : isIPv6(host);
  // BlockList also matches IPv4-mapped IPv6 addresses (::ffff:0.0.0.0).
  if (!isLiteral || port > 65535 || wildcards.check(host, isIPv4(host) ? "ipv4" : "ipv6")) return undefined;
  return { host, port };
}

/** The address of a host: none that no host can have, such as 127.0.0.1 or 255.255.255.255. */
export function parseHost(text: string): Ip | undefined {
  const address = ipv4.parse(text);
  return address !== undefined && ipv4.isUnicast(address) ? address : undefined;
}

/** A path, which becomes absolute, or `off`. */
export function parseAuditLog(text: string): string | undefined {
  return text === "off" ? text : parsePath(text);
}

/** Makes a path absolute. */
export function parsePath(text: string): string | undefined {
  return text === "" || text.includes("\0") ? undefined : resolve(text);
}

/** The size of sun_path in `struct sockaddr_un`, without the closing NUL. */
const maxSocketPathBytes = 107;

/** Makes the path of a Unix socket absolute. `undefined` if it is longer than the kernel allows. */
export function parseSocketPath(text: string): string | undefined {
  const path = parsePath(text);
  return path !== undefined && Buffer.byteLength(path) <= maxSocketPathBytes ? path : undefined;
}

const maxUids = 64;

/** `0,1000`. */
export function parseUids(text: string): ReadonlySet<number> | undefined {
  const parts = text.split(",").map((part) => part.trim());
  const isValid =
    parts.length <= maxUids && parts.every((part) => /^\d{1,10}$/.test(part) && Number(part) < 2 ** 32 - 1);
  return isValid ? new Set(parts.map(Number)) : undefined;
}
