/** How the text of a setting becomes a value. Each parser answers `undefined` where the text is none. */
import { BlockList, isIPv4, isIPv6 } from "node:net";
import { resolve } from "node:path";

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** A duration in milliseconds: `200ms`, `30s`, `5m`, `1h`, or `0`. */
export function parseDurationMs(text: string): number | undefined {
  if (text === "0") return 0;
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? [];
  return digits === undefined ? undefined : Number(digits) * unitMs[unit as keyof typeof unitMs];
}

/** A parser of durations between two bounds, both inclusive. */
export function durationBetween(leastMs: number, mostMs: number) {
  return (text: string): number | undefined => {
    const durationMs = parseDurationMs(text);
    return durationMs !== undefined && durationMs >= leastMs && durationMs <= mostMs ? durationMs : undefined;
  };
}

/** Where the HTTP server listens; `host` is an address literal, an IPv6 one without brackets. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const wildcards = new BlockList();
wildcards.addAddress("0.0.0.0", "ipv4");
wildcards.addAddress("::", "ipv6");

/**
 * `host:port[,host:port]...`. A host is an address literal or `localhost`, so that no resolver decides what the
 * API listens on. A wildcard is none: every EIP is a local address, so 0.0.0.0 is the Internet.
 */
export function parseEndpoints(text: string): readonly Endpoint[] | undefined {
  const endpoints = text.split(",").map((part) => parseEndpoint(part.trim()));
  return endpoints.every((endpoint) => endpoint !== undefined) ? endpoints : undefined;
}

function parseEndpoint(text: string): Endpoint | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = plain === "localhost" ? "127.0.0.1" : (bracketed ?? plain ?? "");
  const port = Number(digits);
  const isLiteral = bracketed === undefined ? isIPv4(host) : isIPv6(host);
  // A BlockList compares IPv4 addresses in IPv6 clothes, too.
  if (!isLiteral || port > 65535 || wildcards.check(host, isIPv4(host) ? "ipv4" : "ipv6")) return undefined;
  return { host, port };
}

/** A path, made absolute. */
export function parsePath(text: string): string | undefined {
  return text === "" || text.includes("\0") ? undefined : resolve(text);
}

/** sun_path of a unix socket, less its closing zero. */
const maxSocketPathBytes = 107;

/** A unix socket's path, made absolute and no longer than the kernel takes. */
export function parseSocketPath(text: string): string | undefined {
  const path = parsePath(text);
  return path !== undefined && Buffer.byteLength(path) <= maxSocketPathBytes ? path : undefined;
}
