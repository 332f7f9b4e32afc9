/** Addresses with a mask, as iptables matches them. The mask need not be a prefix. */
import { families, familyOf } from "../model/families.ts";
import type { AddressValue, Family } from "../model/family.ts";
import { addressOf, type Cidr, type Ip, prefixLengthOf } from "../model/ip.ts";

declare const brand: unique symbol;

/**
 * A canonical `address/mask` as the kernel prints it, with host bits masked. A prefix mask is a length
 * (`"10.0.1.0/24"`, `"10.0.1.5/32"`), any other mask is an address (`"10.0.1.1/255.255.255.15"`). Equal values are
 * equal strings.
 */
export type MaskedAddress = string & { readonly [brand]: "MaskedAddress" };

/** True if every address matches. iptables prints no match for it. */
export function isAnyAddress(masked: MaskedAddress | undefined): boolean {
  return anyAddresses.includes(masked);
}

const anyAddresses: readonly (string | undefined)[] = families.map(({ everything }) => everything);

const lengthRegex = /^[0-9]+$/;

/** One host: `"10.0.1.5/32"`. */
export function hostMask(address: Ip, { hostSuffix }: Family): MaskedAddress {
  return (address + hostSuffix) as MaskedAddress;
}

/** The inverse of {@link hostMask}. `undefined` if more than one host matches. */
export function hostOf(masked: MaskedAddress, { hostSuffix }: Family): Ip | undefined {
  return masked.endsWith(hostSuffix) ? (masked.slice(0, -hostSuffix.length) as Ip) : undefined;
}

/** The text that `--ctorigdst` prints: a host without prefix length. */
export function bareText(masked: MaskedAddress): string {
  return hostOf(masked, familyOf(masked as string as Cidr)) ?? masked;
}

/** A network. Its canonical form is the same text. */
export function networkMask(cidr: Cidr): MaskedAddress {
  return cidr as string as MaskedAddress;
}

/**
 * The addresses of `cidr` whose low bits equal `bucket`. `buckets` is a power of two, at most the size of the network.
 */
export function bucketMask(cidr: Cidr, bucket: number, buckets: number, family: Family): MaskedAddress {
  const mask = family.bucketMask(prefixLengthOf(cidr), buckets);
  return maskedAddress(family.plus(family.toValue(addressOf(cidr)), bucket), mask, family);
}

export function maskedAddress(address: AddressValue, mask: AddressValue, family: Family): MaskedAddress {
  const masked = family.format(family.and(address, mask));
  return `${masked}/${family.lengthOfMask(mask) ?? family.format(mask)}` as MaskedAddress;
}

/** Parses `address`, `address/length` or `address/mask`. `undefined` for any other text. */
export function parseMasked(text: string, family: Family): MaskedAddress | undefined {
  const slash = text.indexOf("/");
  const address = family.parse(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  if (slash < 0) return hostMask(address, family);
  if (text.length === slash + family.hostSuffix.length && text.endsWith(family.hostSuffix))
    return text as MaskedAddress;
  const mask = parseMask(text.slice(slash + 1), family);
  return mask === undefined ? undefined : maskedAddress(family.toValue(address), mask, family);
}

export interface MaskedParts {
  readonly address: AddressValue;
  readonly mask: AddressValue;
}

export function maskedParts(masked: MaskedAddress, family: Family): MaskedParts {
  const slash = masked.indexOf("/");
  const mask = parseMask(masked.slice(slash + 1), family);
  return {
    address: family.toValue(masked.slice(0, slash) as Ip),
    mask: mask ?? family.netmask(family.bits),
  };
}

function parseMask(text: string, family: Family): AddressValue | undefined {
  if (lengthRegex.test(text)) {
    const isLength = text.length < family.hostSuffix.length && Number(text) <= family.bits;
    return isLength ? family.netmask(Number(text)) : undefined;
  }
  const mask = family.parse(text);
  return mask === undefined ? undefined : family.toValue(mask);
}
