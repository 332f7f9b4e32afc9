/**
 * The program: what the gateway has to do, after all clashes are decided and all references resolved. It is the common
 * input of all planners. Nothing in it is refused, unresolved or expired.
 */
import type { Family } from "./family.ts";
import { type Cidr, type Ip, prefixLengthOf } from "./ip.ts";
import type { InterfaceName, ObjectId } from "./names.ts";
import type { ObservedNetwork } from "./observed.ts";
import type { Backend, Protocol } from "./schema.ts";

export interface Program {
  /** The family of all its addresses. */
  readonly family: Family;
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** The default gateway, if one is known. {@link ownedNextHop} tells whether the agent owns the default route. */
  readonly defaultGateway: Ip | undefined;
  /** The EIPs to hold, in order of creation number like all lists here. */
  readonly eips: readonly ProgramEip[];
  /** EIPs that rules can use but that are not held. Absent: none. */
  readonly unboundEips?: readonly ProgramEip[];
  readonly fips: readonly ProgramFip[];
  readonly dnats: readonly ProgramDnat[];
  /** Longest prefix first, then by address, then by interface. */
  readonly pools: readonly SnatPool[];
  readonly routes: readonly ProgramRoute[];
  /** Absent: none. */
  readonly limits?: readonly ProgramLimit[];
}

export interface ProgramEip {
  readonly id: ObjectId;
  readonly address: Ip;
  readonly prefixLength: number;
  readonly interface: InterfaceName;
}

/**
 * The next hop of the default route that the agent owns. `undefined`: the default route is left alone. It is while the external
 * interface has neither an EIP nor an address of its own, so that another interface keeps the default route until then. A default
 * route that the agent made before stays.
 */
export function ownedNextHop(
  { defaultGateway, eips, externalInterface }: Program,
  { addresses }: Pick<ObservedNetwork, "addresses">,
): Ip | undefined {
  const isThere = (one: { readonly interface: InterfaceName }) => one.interface === externalInterface;
  return eips.some(isThere) || addresses.some(isThere) ? defaultGateway : undefined;
}

/** All EIPs that rules can use, held or not. */
export function ruledEips({ eips, unboundEips = [] }: Program): readonly ProgramEip[] {
  return unboundEips.length === 0 ? eips : [...eips, ...unboundEips];
}

export interface ProgramFip {
  readonly id: ObjectId;
  readonly eip: Ip;
  readonly internalIp: Ip;
  /** False for all FIPs of an internal IP except the oldest: they translate only incoming flows. */
  readonly isOutward: boolean;
}

export interface ProgramDnat {
  readonly id: ObjectId;
  readonly eip: Ip;
  readonly protocol: Protocol;
  readonly externalPort: number;
  /** At least one. New flows are distributed in equal shares. */
  readonly backends: readonly [Backend, ...Backend[]];
  /** True if the object has a list of backends, even of one. */
  readonly isList?: boolean;
  /** True if a client's address decides which backend its flows get. Only with a list. Absent: each flow draws one. */
  readonly isSticky?: boolean;
}

/** The SNATs of one CIDR with one outgoing interface. The low bits of a client's address choose its member. */
export interface SnatPool {
  readonly cidr: Cidr;
  /** The interface of the EIPs, by which the clients' packets leave. */
  readonly interface: InterfaceName;
  /** Oldest first. One member for a network of one host, however many are on standby. */
  readonly members: readonly [PoolMember, ...PoolMember[]];
}

export interface PoolMember {
  readonly id: ObjectId;
  readonly eip: Ip;
  /** `random`: random source ports. `preserve`: keeps the client's port if it is free. */
  readonly mapping: "random" | "preserve";
}

export interface ProgramRoute {
  readonly id: ObjectId;
  readonly destination: Cidr;
  readonly via: Ip;
  readonly interface: InterfaceName;
}

/** A rate limit. */
export interface ProgramLimit {
  readonly id: ObjectId;
  readonly target: LimitTarget;
  /** `ingress`: what comes in by the target's interface. `egress`: what leaves by it. */
  readonly direction: "ingress" | "egress";
  /** The interface that the limit is about: of an EIP the one that it is on. */
  readonly interface: InterfaceName;
  /** Bytes a second. */
  readonly rate: number;
  /** What may pass at once after a pause, in bytes. Absent: a small default. */
  readonly burst?: number;
  /** Of two limits that a packet matches, the one with the lower value takes it. Absent: after all others. */
  readonly priority?: number;
}

export type LimitTarget =
  /** Packets of an EIP, in the direction of the limit to it or from it. */
  | { readonly kind: "eip"; readonly eip: Ip }
  /** Packets that have such an address on the wire of the interface. */
  | { readonly kind: "network"; readonly side: "source" | "destination"; readonly cidr: Cidr }
  /** All packets of the interface. */
  | { readonly kind: "all" };

/**
 * Number of buckets of a pool with several members: enough that the shares of up to 16 members differ by at most one
 * bucket.
 */
export const poolBuckets = 16;

/**
 * The member that serves each bucket: bucket b goes to member b mod n. A pool of one has one bucket. A pool of n has
 * the smallest power of two that is at least max(n, {@link poolBuckets}), limited by the size of the CIDR.
 *
 * @returns the members by bucket; the length is a power of two. Bucket = client address mod length.
 */
export function bucketsOf(pool: SnatPool, family: Family): readonly PoolMember[] {
  if (pool.members.length === 1) return pool.members;
  let count = poolBuckets;
  while (count < pool.members.length) count *= 2;
  const hosts = 2 ** (family.bits - prefixLengthOf(pool.cidr));
  const length = Math.min(count, hosts);
  return Array.from({ length }, (_, bucket) => memberAt(pool, bucket));
}

function memberAt(pool: SnatPool, bucket: number): PoolMember {
  return pool.members[bucket % pool.members.length] ?? pool.members[0];
}
