/** Network values from text that a test spells out. They throw if the text is wrong. */
import type { Ip } from "../../lib/model/ip.ts";
import { parseIp } from "../../lib/model/ipv4.ts";
import type { LedgerAddress } from "../../lib/model/ledger.ts";
import { type InterfaceName, parseInterfaceName } from "../../lib/model/names.ts";

/** An entry of the ledger: `("net1", "203.0.113.10/24")`. */
export function entryOf(name: string, cidr: string): LedgerAddress {
  const [address = "", length] = cidr.split("/");
  return { interface: device(name), address: toIp(address), prefixLength: Number(length) };
}

export function toIp(text: string): Ip {
  return parseIp(text) ?? fail(text);
}

export function device(text: string): InterfaceName {
  return parseInterfaceName(text) ?? fail(text);
}

export function fail(text: string): never {
  throw new TypeError(`bad test value: ${text}`);
}
