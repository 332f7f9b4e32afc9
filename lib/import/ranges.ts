/**
 * Finds the SNATs behind ranges of clients: the inverse of `flatten` in lib/plan/nftables/clients.ts. A range is what a CIDR has
 * without the narrower CIDRs in it. The guard knows the CIDRs; without it each range is read as the networks that it consists of.
 */
import { type Chunked, everyNth, sortChunked } from "../chunked.ts";
import { type AddressValue, compareValues, type Family } from "../model/family.ts";
import { type Cidr, prefixLengthOf } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import { poolBuckets } from "../model/program.ts";
import { groupChunked } from "./groups.ts";
import { isSameMember, membersOf } from "./members.ts";
import type { Member, ReadPool, Source, Unread } from "./read-rules.ts";

/** Clients with one outgoing interface. Ranges of one interface do not overlap. */
export interface ReadRange {
  readonly first: AddressValue;
  readonly last: AddressValue;
  readonly interface: InterfaceName;
  /** The SNAT of each bucket. A list of one: all clients have the same. */
  readonly buckets: readonly [Member, ...Member[]];
  readonly source: Source;
}

interface Placed extends ReadRange {
  isTaken: boolean;
}

/** Takes a few milliseconds. */
const lookedAtOnce = 2_000;

export function* readRanges(
  ranges: readonly ReadRange[],
  known: readonly Cidr[],
  family: Family,
): Chunked<{ readonly pools: readonly ReadPool[]; readonly unread: readonly Unread[] }> {
  const pools: ReadPool[] = [];
  const unread: Unread[] = [];
  const isDue = everyNth(lookedAtOnce);
  const narrowestFirst = yield* sortChunked(
    known,
    (one, other) => prefixLengthOf(other) - prefixLengthOf(one),
  );
  for (const [name, of] of yield* groupChunked(ranges, (range) => range.interface)) {
    const free = of.map((range): Placed => ({ ...range, isTaken: false }));
    yield;
    const placed = yield* sortChunked(free, (one, other) => compareValues(one.first, other.first));
    for (const cidr of narrowestFirst) {
      if (isDue()) yield;
      const pool = poolOf(cidr, name, placed, family);
      if (pool !== undefined) pools.push(pool);
    }
    for (const range of placed) {
      if (isDue()) yield;
      if (range.isTaken) continue;
      const members = membersOf(new Map(range.buckets.entries()), range.buckets.length);
      if (members === undefined) unread.push({ ...range.source, why: "its buckets are not those of a pool" });
      else
        for (const cidr of networksIn(range, family))
          pools.push({ cidr, interface: name, members, source: range.source });
    }
  }
  return { pools, unread };
}

/** The SNATs of a known CIDR, if the ranges that nothing narrower has are theirs. Marks these ranges. */
function poolOf(
  cidr: Cidr,
  name: InterfaceName,
  placed: readonly Placed[],
  family: Family,
): ReadPool | undefined {
  const [first, last] = family.rangeOf(cidr);
  const free: Placed[] = [];
  let covered = 0;
  for (let at = firstFrom(placed, first); ; at++) {
    const range = placed[at];
    if (range === undefined || range.first > last) break;
    if (range.last > last) return undefined;
    covered += family.count(range.first, range.last);
    if (!range.isTaken) free.push(range);
  }
  const [some] = free;
  if (some === undefined || covered !== family.count(first, last)) return undefined;
  const members = membersIn(free, covered, family);
  if (members === undefined) return undefined;
  for (const range of free) range.isTaken = true;
  return { cidr, interface: name, members, source: some.source };
}

function membersIn(
  free: readonly Placed[],
  size: number,
  family: Family,
): readonly [Member, ...Member[]] | undefined {
  const [{ buckets }] = free.toSorted((one, other) => other.buckets.length - one.buckets.length) as [Placed];
  const isAlike = free.every((range) => isSameMember(range.buckets[0], buckets[0]));
  if (buckets.length === 1 && isAlike) return buckets;
  // Few clients are told one by one.
  const count = buckets.length > 1 ? buckets.length : Math.min(size, poolBuckets);
  const seen = new Map<number, Member>();
  for (const { first, last, buckets: own } of free) {
    const [only] = own;
    if (own.length === 1 && first !== last) return undefined;
    if (own.length === 1 && !see(seen, family.modulo(first, count), only)) return undefined;
    if (own.length > 1 && (own.length !== count || !own.every((member, at) => see(seen, at, member))))
      return undefined;
  }
  return membersOf(seen, count);
}

/** False if the bucket is known to have another member. */
function see(seen: Map<number, Member>, bucket: number, member: Member): boolean {
  const before = seen.get(bucket);
  if (before !== undefined) return isSameMember(before, member);
  seen.set(bucket, member);
  return true;
}

/** The position of the first range that begins at `value` or later. */
function firstFrom(placed: readonly Placed[], value: AddressValue): number {
  let [low, high] = [0, placed.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const range = placed[middle];
    if (range !== undefined && range.first < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The widest networks that a range consists of. */
function* networksIn({ first, last }: ReadRange, family: Family): Generator<Cidr> {
  for (let next = first; next <= last; ) {
    let length = family.bits;
    while (length > 0) {
      const [start, end] = family.rangeOf(family.makeCidr(family.format(next), length - 1));
      if (start !== next || end > last) break;
      length--;
    }
    const cidr = family.makeCidr(family.format(next), length);
    yield cidr;
    const [, end] = family.rangeOf(cidr);
    if (end >= last) return;
    next = family.plus(end, 1);
  }
}
