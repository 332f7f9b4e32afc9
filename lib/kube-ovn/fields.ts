/** Reads the fields of a rule, the comma-separated argument of an operation. Every function throws `invalid`. */
import { GatewayError } from "../model/errors.ts";
import { parseCidr, parseIp } from "../model/families.ts";
import { addressOf, type Cidr, type InterfaceAddress, type Ip, makeInterfaceAddress } from "../model/ip.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import type { Backend, Protocol } from "../model/schema.ts";

const maxBackends = 256;
/** The smallest rate and burst. */
const least = 0.001;

/**
 * Splits a rule.
 * @param shapes the allowed shapes, as lists of field names: `"eip,internal"`. Each has another number of fields
 */
export function fieldsOf(rule: string, ...shapes: readonly string[]): readonly string[] {
  const fields = rule.split(",");
  if (shapes.some((shape) => shape.split(",").length === fields.length)) return fields;
  throw invalid(`must be ${shapes.join(" or ")}`);
}

export function ipField(text: string | undefined): Ip {
  const ip = parseIp(text ?? "");
  if (ip === undefined) throw invalid(`${quoted(text)} is not an address`);
  return ip;
}

/** A network; a bare address is a network of one host. */
export function cidrField(text: string | undefined): Cidr {
  const cidr = parseCidr(text ?? "");
  if (cidr === undefined) throw invalid(`${quoted(text)} is not a network`);
  return cidr;
}

/** An address with the prefix length of its subnet. */
export function interfaceAddressField(text: string | undefined): InterfaceAddress {
  const [address, length] = text?.split("/", 2) ?? [];
  const cidr = length === undefined ? undefined : parseCidr(text ?? "");
  const ip = parseIp(address ?? "");
  if (cidr === undefined || ip === undefined) throw invalid(`${quoted(text)} is not address/prefix length`);
  return makeInterfaceAddress(ip, Number(length));
}

/** The address of `address` or `address/prefix length`. */
export function addressField(text: string | undefined): Ip {
  return text?.includes("/") ? addressOf(interfaceAddressField(text)) : ipField(text);
}

export function portField(text: string | undefined): number {
  const port = integer(text);
  if (port === undefined || port < 1 || port > 65_535) throw invalid(`${quoted(text)} is not a port`);
  return port;
}

/** In any case, as the controller passes on what users wrote. */
export function protocolField(text: string | undefined): Protocol {
  const protocol = text?.toLowerCase();
  if (protocol === "tcp" || protocol === "udp" || protocol === "sctp") return protocol;
  throw invalid(`${quoted(text)} is not tcp, udp or sctp`);
}

/** `ip:port@ip:port...`. What is given twice counts once: the shares are equal. */
export function backendsField(text: string | undefined): Backend[] {
  const parts = (text ?? "").split("@");
  if (parts.length > maxBackends) throw invalid(`more than ${maxBackends} backends`);
  const backends = parts.map((one) => {
    const colon = one.lastIndexOf(":");
    if (colon === -1) throw invalid(`${quoted(one)} is not ip:port`);
    return { ip: ipField(one.slice(0, colon)), port: portField(one.slice(colon + 1)) };
  });
  return [...new Map(backends.map((backend) => [`${backend.ip}:${backend.port}`, backend])).values()];
}

export function interfaceField(text: string | undefined): InterfaceName {
  const name = parseInterfaceName(text ?? "");
  if (name === undefined) throw invalid(`${quoted(text)} is not an interface name`);
  return name;
}

export function priorityField(text: string | undefined): number {
  const priority = integer(text);
  if (priority === undefined || priority > 65_535) throw invalid(`${quoted(text)} is not a priority`);
  return priority;
}

/** A decimal number within the bounds of a Limit. */
export function decimalField(text: string | undefined, most: number): number {
  const number = /^[0-9]{1,9}(?:\.[0-9]{1,9})?$/.test(text ?? "") ? Number(text) : 0;
  if (number < least || number > most)
    throw invalid(`${quoted(text)} is not a number from ${least} to ${most}`);
  return number;
}

/** A whole number of seconds. */
export function secondsField(text: string | undefined): number {
  const seconds = integer(text);
  if (seconds === undefined) throw invalid(`${quoted(text)} is not a number of seconds`);
  return seconds;
}

export function wordField<W extends string>(text: string | undefined, ...words: readonly W[]): W {
  const word = words.find((one) => one === text);
  if (word === undefined) throw invalid(`${quoted(text)} is not ${words.join(" or ")}`);
  return word;
}

export function invalid(message: string): GatewayError {
  return new GatewayError("invalid", message);
}

/** For messages: control characters escaped, and not longer than a line. */
export function quoted(text: string | undefined): string {
  const shown = text ?? "";
  return JSON.stringify(shown.length > 80 ? `${shown.slice(0, 80)}...` : shown);
}

function integer(text: string | undefined): number | undefined {
  return text !== undefined && /^(?:0|[1-9][0-9]{0,8})$/.test(text) ? Number(text) : undefined;
}
