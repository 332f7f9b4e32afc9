/**
 * What differs between address families, as one value. A program is of one family (`Program.family`), and so are the planners,
 * codecs and drivers that serve it: they take the family and assume none. Where objects of all families meet, an address tells
 * its own: `familyOf` of `families.ts`.
 */
import type { Cidr, InterfaceAddress, Ip } from "./ip.ts";
import type { DeviceSetting, SysctlKey } from "./observed.ts";

declare const brand: unique symbol;

/**
 * An address to compare: equal and ordered as addresses are, and a key of maps. Nobody but its family calculates with one, which
 * the type sees to: `+`, `-` and `&` do not compile.
 */
export type AddressValue = (number | bigint) & { readonly [brand]: "AddressValue" };

/** An address, or what a mask leaves of it, as the key that a map finds fastest. Neither ordered nor an {@link AddressValue}. */
export type AddressKey = (number | bigint) & { readonly [brand]: "AddressKey" };

/** Below 0 where `one` comes first, above 0 where `other` does. */
export function compareValues(one: AddressValue, other: AddressValue): number {
  return one < other ? -1 : Number(one > other);
}

export interface Family extends FamilyText, FamilyNetworks, FamilyArithmetic, FamilyWire {
  /** For messages: `IPv4`. */
  readonly name: string;
  /** Of the IP header, and of `ip -4`. */
  readonly version: number;
  /** AF_* of sockets and rtnetlink, and NFPROTO_* of netfilter: they are the same. */
  readonly number: number;
  /** Of an address: the prefix length of one host. */
  readonly bits: number;
  /** The end of a network of one host: `/32`. */
  readonly hostSuffix: string;
  /** How the tools of iptables begin: `iptables`, as in `iptables-nft-save`. */
  readonly iptables: string;
  readonly nft: NftWords;
  readonly sysctls: FamilySysctls;
}

/** Addresses as text. */
export interface FamilyText {
  /** Regular expression source of an address, anchored. */
  readonly addressPattern: string;
  /** Regular expression source of an address with a prefix length, anchored. */
  readonly cidrPattern: string;
  /** True of a text that is this family's, if it is any address, network or interface address at all. */
  owns(text: string): boolean;
  /** Parses an address in its canonical form; `undefined` where the text is anything else. */
  parse(text: string): Ip | undefined;
  /** Parses an address and what stands behind it as its port, `10.0.1.5:80`; `undefined` where the address is none. */
  parseEndpoint(text: string): { readonly address: Ip; readonly port: string | undefined } | undefined;
  /** The inverse of {@link parseEndpoint}. */
  endpoint(address: Ip, port: number): string;
  /** Finds the address itself in a text, not another that only begins or ends like it. */
  mentionOf(address: Ip): RegExp;
  /** Parses `address/prefix` and masks the host bits. A bare address is the network of one host. */
  parseCidr(text: string): Cidr | undefined;
}

/** What is special about some addresses, and how networks hold them. */
export interface FamilyNetworks {
  /** What stands for no address. */
  readonly unspecified: Ip;
  /** The network of all addresses. */
  readonly everything: Cidr;
  /** What never leaves a host. */
  readonly loopback: Cidr;
  /** The shortest prefix that one owner's network has: a route with a shorter one takes a share of the Internet. */
  readonly widestNetwork: number;
  /** True where the address can be one host's: neither loopback nor {@link isNeverUnicast}. */
  isUnicast(address: Ip): boolean;
  /** True where no network stack takes the address for a host's: multicast, reserved and the like. Loopback is one. */
  isNeverUnicast(address: AddressValue): boolean;
  /** True where a network holds an address that can be a host's. */
  holdsHosts(cidr: Cidr): boolean;
  /** The network of `prefixLength` bits that holds `address`. */
  makeCidr(address: Ip, prefixLength: number): Cidr;
  /** The subnet that an interface address lies in. */
  networkOf(address: InterfaceAddress): Cidr;
  contains(cidr: Cidr, address: Ip): boolean;
  /** The addresses of a subnet that no host may hold; `undefined` where there are none. */
  reservedOf(cidr: Cidr): { readonly network: Ip; readonly broadcast: Ip } | undefined;
  /** Which of them an interface address is; `undefined` where a host may hold it. */
  reservedRoleOf(address: InterfaceAddress): "network" | "broadcast" | undefined;
}

export interface FamilyArithmetic {
  /** Of {@link FamilyNetworks.unspecified}: all bits 0. */
  readonly zero: AddressValue;
  toValue(address: Ip): AddressValue;
  /** The inverse of {@link toValue}. */
  format(value: AddressValue): Ip;
  /** First and last address, both inclusive. */
  rangeOf(cidr: Cidr): readonly [first: AddressValue, last: AddressValue];
  /** The address `count` further on; a negative count goes back. */
  plus(value: AddressValue, count: number): AddressValue;
  /** How many addresses there are from `first` to `last`, both inclusive. */
  count(first: AddressValue, last: AddressValue): number;
  and(one: AddressValue, other: AddressValue): AddressValue;
  /** The value modulo `modulus`, a power of two of at most 65,536. */
  modulo(value: AddressValue, modulus: number): number;
  /** The mask of a prefix length. */
  netmask(prefixLength: number): AddressValue;
  /** The prefix length of a mask; `undefined` where the mask is no prefix. */
  lengthOfMask(mask: AddressValue): number | undefined;
  /** A mask of the first `prefixLength` bits and the lowest, those below `buckets`, a power of two. */
  bucketMask(prefixLength: number, buckets: number): AddressValue;
  keyOf(value: AddressValue): AddressKey;
  /** @param mask of a netmask, by {@link keyOf} */
  maskedKey(value: AddressValue, mask: AddressKey): AddressKey;
}

/** Addresses as bytes, in network order, and the numbers by which the kernel's interfaces name what is the family's. */
export interface FamilyWire {
  /** `struct nfgenmsg`, before the attributes of all that netfilter says of one family: version 0, resource 0. */
  readonly netfilterHeader: Uint8Array;
  readonly addressBytes: number;
  /** Reads {@link addressBytes}; throws a RangeError beyond the view's end. */
  read(view: DataView, at: number): AddressValue;
  write(bytes: Uint8Array, at: number, value: AddressValue): void;
  /** ICMP's number as an IP protocol. */
  readonly icmp: number;
  /** CTA_IP_* and CTA_PROTO_ICMP_* of nfnetlink_conntrack.h. */
  readonly conntrack: {
    readonly source: number;
    readonly destination: number;
    readonly icmpId: number;
    readonly icmpType: number;
    readonly icmpCode: number;
  };
  /** Of a link: where IFLA_AF_SPEC has its settings, and which is which, counted from 1. */
  readonly link: {
    readonly settings: number;
    readonly numbers: Readonly<Record<DeviceSetting, number>>;
  };
}

/** nft's words and numbers. */
export interface NftWords {
  /** The family of tables: `ip`. */
  readonly family: string;
  /** Its number for the type of an address, which `nft describe ipv4_addr` tells. */
  readonly addressType: number;
  /** Where a packet's network header has them, in bytes. */
  readonly sourceAt: number;
  readonly destinationAt: number;
  /** NFT_CT_DST_IP*: the key of a flow's destination, by direction. */
  readonly ctDestination: number;
}

export interface FamilySysctls {
  /** What makes every interface forward. */
  readonly forwarding: SysctlKey;
  /** What the settings of devices are below: `net.ipv4.conf`. */
  readonly devices: SysctlKey;
  /** A setting of one device, or of `all`. */
  ofDevice(device: string, setting: DeviceSetting): SysctlKey;
}
