/**
 * All address families, and which family a text belongs to. Code that serves one program uses `Program.family` instead.
 */
import type { Family } from "./family.ts";
import type { Cidr, InterfaceAddress, Ip } from "./ip.ts";
import { ipv4 } from "./ipv4.ts";

export const families: readonly [Family, ...Family[]] = [ipv4];
const [first, ...others] = families;

/** Regular expression source for an address of any family, anchored. For the schemas. */
export const ipPattern = families.map((family) => family.addressPattern).join("|");
/** The same for an address with a prefix length. */
export const cidrPattern = families.map((family) => family.cidrPattern).join("|");

/** The family of an address or network. */
export function familyOf(address: Ip | Cidr | InterfaceAddress): Family {
  for (const family of others) if (family.owns(address)) return family;
  return first;
}

/** Parses an address of any family. `undefined` for any other text. */
export function parseIp(text: string): Ip | undefined {
  for (const family of families) {
    const address = family.parse(text);
    if (address !== undefined) return address;
  }
  return undefined;
}

/** Parses a network of any family like {@link Family.parseCidr}. */
export function parseCidr(text: string): Cidr | undefined {
  for (const family of families) {
    const cidr = family.parseCidr(text);
    if (cidr !== undefined) return cidr;
  }
  return undefined;
}
