/**
 * The program: what the gateway is to do, once every clash is decided and every reference resolved. The one
 * input that all planners share; nothing in it is refused, unresolved or expired.
 */
import type { Family } from "./family.ts";
import { type Cidr, type Ip, prefixLengthOf } from "./ip.ts";
import type { InterfaceName, ObjectId } from "./names.ts";
import type { Backend, Protocol } from "./schema.ts";

export interface Program {
  /** Of all its addresses. */
  readonly family: Family;
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
  /** The owned default route's next hop; `undefined`: the default route is left alone. */
  readonly defaultGateway: Ip | undefined;
  /** The EIPs to hold. In order of creation number, as all lists here. */
  readonly eips: readonly ProgramEip[];
  /** EIPs that rules may name and that are not to be held. Absent: none. */
  readonly unboundEips?: readonly ProgramEip[];
  readonly fips: readonly ProgramFip[];
  readonly dnats: readonly ProgramDnat[];
  /** Longest prefix first, then by address, then by interface. */
  readonly pools: readonly SnatPool[];
  readonly routes: readonly ProgramRoute[];
}

export interface ProgramEip {
  readonly id: ObjectId;
  readonly address: Ip;
  readonly prefixLength: number;
  readonly interface: InterfaceName;
}

/** All EIPs that rules may name, held or not. */
export function ruledEips({ eips, unboundEips = [] }: Program): readonly ProgramEip[] {
  return unboundEips.length === 0 ? eips : [...eips, ...unboundEips];
}

export interface ProgramFip {
  readonly id: ObjectId;
  readonly eip: Ip;
  readonly internalIp: Ip;
  /** False for all but the eldest FIP of an internal IP: they work inwards only. */
  readonly isOutward: boolean;
}

export interface ProgramDnat {
  readonly id: ObjectId;
  readonly eip: Ip;
  readonly protocol: Protocol;
  readonly externalPort: number;
  /** At least one; equal shares of new flows. */
  readonly backends: readonly [Backend, ...Backend[]];
}

/** The SNATs of one CIDR that leave by one interface: a client's low address bits choose its member. */
export interface SnatPool {
  readonly cidr: Cidr;
  /** The EIPs' interface, which the clients' packets leave by. */
  readonly interface: InterfaceName;
  /** The elder first; one member for a network of one host, however many stand by. */
  readonly members: readonly [PoolMember, ...PoolMember[]];
}

export interface PoolMember {
  readonly id: ObjectId;
  readonly eip: Ip;
  /** `random`: source ports drawn at random; `preserve`: the client's port where it is free. */
  readonly mapping: "random" | "preserve";
}

export interface ProgramRoute {
  readonly id: ObjectId;
  readonly destination: Cidr;
  readonly via: Ip;
  readonly interface: InterfaceName;
}

/** Buckets of a pool with more than one member: enough that shares of up to 16 members differ by one bucket at most. */
export const poolBuckets = 16;

/**
 * Which member serves each bucket: bucket b goes to member b mod n. A pool of one has one bucket; one of n has
 * the smallest power of two that is at least max(n, {@link poolBuckets}), bounded by the CIDR's own size.
 *
 * @returns the members by bucket; its length is a power of two. Bucket = client address mod length.
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
