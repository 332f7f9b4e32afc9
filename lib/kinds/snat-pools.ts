/** Groups SNATs into pools. SNATs of one CIDR and one outgoing interface share the clients of that CIDR. */
import { type Chunked, everyNth, sortChunked } from "../chunked.ts";
import { type AddressValue, compareValues, type Family } from "../model/family.ts";
import { addressOf, type Cidr, prefixLengthOf } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";
import type { PoolMember, ProgramEip, SnatPool } from "../model/program.ts";

/** A SNAT whose Eip is programmed. */
export interface ProgrammedSnat {
  readonly id: ObjectId;
  readonly cidr: Cidr;
  readonly eip: ProgramEip;
  readonly mapping: PoolMember["mapping"];
}

export interface Pooled {
  readonly pools: readonly SnatPool[];
  readonly standby: ReadonlyMap<ObjectId, ObjectId>;
}

/** Takes a few milliseconds. */
const pooledAtOnce = 4_000;

/**
 * @param programmed oldest first
 * @returns the pools in the order of {@link Program.pools}, and each SNAT that gets no client, because its pool has
 * no more clients than older SNATs, with the oldest SNAT of the pool
 */
export function* poolSnats(programmed: readonly ProgrammedSnat[], family: Family): Chunked<Pooled> {
  const isDue = everyNth(pooledAtOnce);
  const groups = new Map<string, [ProgrammedSnat, ...ProgrammedSnat[]]>();
  for (const snat of programmed) {
    if (isDue()) yield;
    const key = `${snat.cidr} ${snat.eip.interface}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [snat]);
    else group.push(snat);
  }
  const standby = new Map<ObjectId, ObjectId>();
  const ordered: Ordered[] = [];
  for (const [oldest, ...others] of groups.values()) {
    if (isDue()) yield;
    const prefixLength = prefixLengthOf(oldest.cidr);
    const clients = 2 ** (family.bits - prefixLength);
    const members: [PoolMember, ...PoolMember[]] = [memberOf(oldest)];
    for (const snat of others) {
      if (isDue()) yield;
      if (members.length < clients) members.push(memberOf(snat));
      else standby.set(snat.id, oldest.id);
    }
    const pool = { cidr: oldest.cidr, interface: oldest.eip.interface, members };
    ordered.push({ pool, prefixLength, first: family.toValue(addressOf(oldest.cidr)) });
  }
  const sorted = yield* sortChunked(ordered, longestFirst);
  return { pools: sorted.map(({ pool }) => pool), standby };
}

interface Ordered {
  readonly pool: SnatPool;
  readonly prefixLength: number;
  readonly first: AddressValue;
}

function longestFirst(one: Ordered, other: Ordered): number {
  return (
    other.prefixLength - one.prefixLength ||
    compareValues(one.first, other.first) ||
    (one.pool.interface < other.pool.interface ? -1 : 1)
  );
}

function memberOf({ id, eip, mapping }: ProgrammedSnat): PoolMember {
  return { id, eip: eip.address, mapping };
}
