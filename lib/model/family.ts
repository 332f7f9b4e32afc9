/**
 * Everything that differs between address families, as one value. A program belongs to one family (`Program.family`).
 * The planners, codecs and drivers that serve it take the family as a value and assume none. Where objects of several
 * families meet, `familyOf` of `families.ts` gives the family of an address.
 */
import type { Cidr, InterfaceAddress, Ip } from "./ip.ts";
import type { DeviceSetting, SysctlKey } from "./observed.ts";

declare const brand: unique symbol;

/**
 * An address for comparison: equal and ordered like the addresses, and usable as a map key. Only its family calculates
 * with it; for other code, `+`, `-` and `&` do not compile.
 */
export type AddressValue = (number | bigint) & { readonly [brand]: "AddressValue" };

/**
 * An address, or an address under a mask, in the form that is the fastest map key. Not ordered and not an {@link
 * AddressValue}.
 */
export type AddressKey = (number | bigint) & { readonly [brand]: "AddressKey" };

/** Below 0 if `one` comes first, above 0 if `other` does. */
export function compareValues(one: AddressValue, other: AddressValue): number {
  return one < other ? -1 : Number(one > other);
}

export interface Family extends FamilyText, FamilyNetworks, FamilyArithmetic, FamilyWire {
  /** For messages: `IPv4`. */
  readonly name: string;
  /** The version in the IP header and in `ip -4`. */
  readonly version: number;
  /** AF_* of sockets and rtnetlink, which equals NFPROTO_* of netfilter. */
  readonly number: number;
  /** Bits of an address, the prefix length of one host. */
  readonly bits: number;
  /** The suffix of a network of one host: `/32`. */
  readonly hostSuffix: string;
  /** The prefix of the iptables tools' names: `iptables`, as in `iptables-nft-save`. */
  readonly iptables: string;
  /**
   * True if lib/netfilter parses the matches of this family's rules. If not, nobody checks what rules of other programs
   * do to its packets.
   */
  readonly hasRuleParser: boolean;
  /** True if the kernel resolves an address of an interface for others only while the local table has a route for it. */
  readonly answersByRoute: boolean;
  readonly nft: NftWords;
  readonly sysctls: FamilySysctls;
}

/** Addresses as text. */
export interface FamilyText {
  /** Regular expression source for an address, anchored. */
  readonly addressPattern: string;
  /** Regular expression source for an address with a prefix length, anchored. */
  readonly cidrPattern: string;
  /** True if a text that is an address, network or interface address belongs to this family. */
  owns(text: string): boolean;
  /** Parses an address in canonical form. `undefined` for any other text. */
  parse(text: string): Ip | undefined;
  /** Parses an address with an optional port: `10.0.1.5:80`. `undefined` if the address is invalid. */
  parseEndpoint(text: string): { readonly address: Ip; readonly port: string | undefined } | undefined;
  /** The inverse of {@link parseEndpoint}. */
  endpoint(address: Ip, port: number): string;
  /** Matches exactly this address in a text, not a longer one that contains it. */
  mentionOf(address: Ip): RegExp;
  /** Parses `address/prefix` and masks the host bits. A bare address is a network of one host. */
  parseCidr(text: string): Cidr | undefined;
}

/** Special addresses, and how networks contain addresses. */
export interface FamilyNetworks {
  /** The network of all addresses (0.0.0.0/0). */
  readonly everything: Cidr;
  /** The loopback network. Its addresses never leave a host. */
  readonly loopback: Cidr;
  /** The shortest prefix that one owner's network has. A route with a shorter one covers a part of the Internet. */
  readonly widestNetwork: number;
  /** True if a host can have the address: neither loopback nor {@link isNeverUnicast}. */
  isUnicast(address: Ip): boolean;
  /**
   * True if no network stack accepts the address as a host's: multicast, reserved and similar. Loopback addresses are
   * accepted.
   */
  isNeverUnicast(address: AddressValue): boolean;
  /** True if a network contains an address that a host can have. */
  holdsHosts(cidr: Cidr): boolean;
  /** The network of `prefixLength` bits that contains `address`. */
  makeCidr(address: Ip, prefixLength: number): Cidr;
  /** The subnet of an interface address. */
  networkOf(address: InterfaceAddress): Cidr;
  contains(cidr: Cidr, address: Ip): boolean;
  /** The addresses of a subnet that no host may hold. `undefined` if there are none. */
  reservedOf(cidr: Cidr): { readonly network: Ip; readonly broadcast: Ip } | undefined;
  /** Which of them an interface address is. `undefined` if a host may hold it. */
  reservedRoleOf(address: InterfaceAddress): "network" | "broadcast" | undefined;
}

export interface FamilyArithmetic {
  /** The value of the unspecified address: all bits 0. */
  readonly zero: AddressValue;
  toValue(address: Ip): AddressValue;
  /** The inverse of {@link toValue}. */
  format(value: AddressValue): Ip;
  /** First and last address, both inclusive. */
  rangeOf(cidr: Cidr): readonly [first: AddressValue, last: AddressValue];
  /** The address `count` after `value`, or before it if `count` is negative. */
  plus(value: AddressValue, count: number): AddressValue;
  /** The number of addresses from `first` to `last`, both inclusive. */
  count(first: AddressValue, last: AddressValue): number;
  and(one: AddressValue, other: AddressValue): AddressValue;
  /** The value modulo `modulus`, a power of two up to 65,536. */
  modulo(value: AddressValue, modulus: number): number;
  /** The mask of a prefix length. */
  netmask(prefixLength: number): AddressValue;
  /** The prefix length of a mask. `undefined` if the mask is not a prefix. */
  lengthOfMask(mask: AddressValue): number | undefined;
  /** A mask of the first `prefixLength` bits and the lowest bits, those below `buckets`, a power of two. */
  bucketMask(prefixLength: number, buckets: number): AddressValue;
  keyOf(value: AddressValue): AddressKey;
  /** @param mask a netmask, converted by {@link keyOf} */
  maskedKey(value: AddressValue, mask: AddressKey): AddressKey;
}

/** Addresses as bytes in network byte order, and the numbers that kernel interfaces use for the family. */
export interface FamilyWire {
  /** `struct nfgenmsg`, before the attributes of netfilter messages of one family: version 0, resource 0. */
  readonly netfilterHeader: Uint8Array;
  readonly addressBytes: number;
  /** Reads {@link addressBytes} bytes. Throws a RangeError beyond the end of the view. */
  read(view: DataView, at: number): AddressValue;
  write(bytes: Uint8Array, at: number, value: AddressValue): void;
  /** ICMP's protocol number. */
  readonly icmp: number;
  /** CTA_IP_* and CTA_PROTO_ICMP_* of nfnetlink_conntrack.h. */
  readonly conntrack: {
    readonly source: number;
    readonly destination: number;
    readonly icmpId: number;
    readonly icmpType: number;
    readonly icmpCode: number;
  };
  /** Link settings: the attribute in IFLA_AF_SPEC that holds them, and the number of each setting, from 1. */
  readonly link: {
    readonly settings: number;
    readonly numbers: Readonly<Record<DeviceSetting, number>>;
  };
}

/** nft's names and numbers. */
export interface NftWords {
  /** The family of tables: `ip`. */
  readonly family: string;
  /** nft's number for the type of an address; see `nft describe ipv4_addr`. */
  readonly addressType: number;
  /** Offsets of the addresses in the packet's network header, in bytes. */
  readonly sourceAt: number;
  readonly destinationAt: number;
  /** NFT_CT_SRC_IP*, NFT_CT_DST_IP*: the keys for a flow's source and destination, by direction. */
  readonly ctSource: number;
  readonly ctDestination: number;
}

export interface FamilySysctls {
  /** The sysctl that enables forwarding on all interfaces. */
  readonly forwarding: SysctlKey;
  /** The prefix of device settings: `net.ipv4.conf`. */
  readonly devices: SysctlKey;
  /** The setting of one device, or of `all`. */
  ofDevice(device: string, setting: DeviceSetting): SysctlKey;
  /** How long conntrack keeps a flow without packets, in seconds. At 0 it is gone before the answer comes. */
  readonly flowTimeouts: readonly SysctlKey[];
}
