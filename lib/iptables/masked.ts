/** Addresses under a mask, as iptables matches them: the mask need not be a prefix. */
import { addressOf, type Cidr, type Ip, prefixLengthOf } from "../model/ip.ts";
import { fromU32, netmaskU32, parseIp, toU32 } from "../model/ipv4.ts";

declare const brand: unique symbol;

/**
 * A canonical `address/mask` as the kernel prints it: host bits masked, the mask a prefix length where it is
 * one (`"10.0.1.0/24"`, `"10.0.1.5/32"`), else dotted (`"10.0.1.1/255.255.255.15"`). Equal values are equal strings.
 */
export type MaskedAddress = string & { readonly [brand]: "MaskedAddress" };

/** What every address matches; iptables prints no match for it. */
export const anyAddress = "0.0.0.0/0" as MaskedAddress;

const hostRegex = /^[0-9.]+\/32$/;
const lengthRegex = /^[0-9]{1,2}$/;

/** One host: `"10.0.1.5/32"`. */
export function hostMask(address: Ip): MaskedAddress {
  return `${address}/32` as MaskedAddress;
}

/** A network; its canonical form is the same text. */
export function networkMask(cidr: Cidr): MaskedAddress {
  return cidr as string as MaskedAddress;
}

/** The addresses of `cidr` whose low bits are `bucket`; `buckets` is a power of two no larger than the network. */
export function bucketMask(cidr: Cidr, bucket: number, buckets: number): MaskedAddress {
  const mask = (netmaskU32(prefixLengthOf(cidr)) | (buckets - 1)) >>> 0;
  return maskedAddress(toU32(addressOf(cidr)) + bucket, mask);
}

/** An address and a mask, both as unsigned 32-bit integers. */
export function maskedAddress(address: number, mask: number): MaskedAddress {
  const masked = fromU32((address & mask) >>> 0);
  const length = Math.clz32(~mask);
  const suffix = netmaskU32(length) === mask ? length : fromU32(mask);
  return `${masked}/${suffix}` as MaskedAddress;
}

/** Parses `address`, `address/length` and `address/mask`; `undefined` where the text is none of them. */
export function parseMasked(text: string): MaskedAddress | undefined {
  const slash = text.indexOf("/");
  const address = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  if (slash < 0) return hostMask(address);
  if (hostRegex.test(text)) return text as MaskedAddress;
  const mask = parseMask(text.slice(slash + 1));
  return mask === undefined ? undefined : maskedAddress(toU32(address), mask);
}

/** The address and the mask as unsigned 32-bit integers. */
export function maskedParts(masked: MaskedAddress): { readonly address: number; readonly mask: number } {
  const slash = masked.indexOf("/");
  const mask = parseMask(masked.slice(slash + 1));
  return { address: toU32(masked.slice(0, slash) as Ip), mask: mask ?? 0xffffffff };
}

function parseMask(text: string): number | undefined {
  if (lengthRegex.test(text)) {
    const length = Number(text);
    return length > 32 ? undefined : netmaskU32(length);
  }
  const dotted = parseIp(text);
  return dotted === undefined ? undefined : toU32(dotted);
}
