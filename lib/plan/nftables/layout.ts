/** The elements that a program needs, each with its object, and the definition that they need. */

import { type Chunked, everyNth, forEachChunked, runSync } from "../../chunked.ts";
import type { Family } from "../../model/family.ts";
import type { ObjectId } from "../../model/names.ts";
import {
  bucketsOf,
  type PoolMember,
  type Program,
  type ProgramDnat,
  poolBuckets,
} from "../../model/program.ts";
import { bucketBase, type Definition, drawOf, type Lookup } from "../../nftables/definition.ts";
import { field } from "../../nftables/fields.ts";
import { concatText, type MapName, rangeText } from "../../nftables/maps.ts";
import { type ClientRange, flattenChunked } from "./clients.ts";

/** Called with each element that a program needs. No key of a map occurs twice. */
export type WantedVisitor = (map: MapName, key: string, value: string, object: ObjectId) => void;

/** A program as a table. Elements are generated when needed: nobody has to store tens of thousands. */
export interface WantedTable {
  readonly definition: Definition;
  visit(visitor: WantedVisitor): void;
  /** The same in parts. */
  visitChunked(visitor: WantedVisitor): Chunked<void>;
}

/** Both take a few milliseconds. */
const visitedAtOnce = 2_000;
const lookedAtOnce = 5_000;

export function wantedTable(program: Program): WantedTable {
  return runSync(wantedTableChunked(program));
}

/** The same in parts. */
export function* wantedTableChunked(program: Program): Chunked<WantedTable> {
  const { family } = program;
  const shares: Share[] = [];
  for (const pools of Map.groupBy(program.pools, (pool) => pool.interface).values()) {
    const ranges = yield* flattenChunked(pools, family);
    yield* forEachChunked(ranges, visitedAtOnce, (range) => shares.push(shareOut(range, family)));
  }
  const lookups = yield* lookupsOf(program, shares);
  function* visitChunked(visitor: WantedVisitor): Chunked<void> {
    const isDue = everyNth(visitedAtOnce);
    for (const { id, eip, internalIp, isOutward } of program.fips) {
      if (isDue()) yield;
      visitor("fip_in", eip, internalIp, id);
      if (isOutward) visitor("fip_out", internalIp, eip, id);
    }
    let backends = 0;
    for (const dnat of program.dnats) {
      visitBackends(dnat, visitor);
      backends += dnat.backends.length;
      if (backends < visitedAtOnce) continue;
      backends = 0;
      yield;
    }
    for (const share of shares) {
      if (isDue()) yield;
      yield* visitClients(share, lookups, family, visitor);
    }
    for (const { id, address } of program.eips) {
      if (isDue()) yield;
      visitor("hairpin", address, address, id);
    }
  }
  return {
    definition: {
      vpcInterface: program.vpcInterface,
      lookups,
      backendCounts: yield* backendCountsOf(program, false),
      stickyCounts: yield* backendCountsOf(program, true),
    },
    visit: (visitor) => runSync(visitChunked(visitor)),
    visitChunked,
  };
}

function* backendCountsOf({ dnats }: Program, isSticky: boolean): Chunked<readonly number[]> {
  const counts = new Set<number>();
  yield* forEachChunked(dnats, lookedAtOnce, (dnat) => {
    if (isDrawn(dnat) && (dnat.isSticky ?? false) === isSticky) counts.add(dnat.backends.length);
  });
  return [...counts].sort((one, other) => one - other);
}

/** A list of one is drawn from, too: so an import tells it from a DNAT with an internal IP. */
function isDrawn({ isList = false, backends }: ProgramDnat): boolean {
  return isList || backends.length > 1;
}

function visitBackends(dnat: ProgramDnat, visit: WantedVisitor): void {
  const { id, eip, protocol, externalPort, backends, isSticky } = dnat;
  const service = concatText(eip, protocol, externalPort);
  const count = backends.length;
  backends.forEach(({ ip, port }, index) => {
    const backend = concatText(ip, port);
    if (!isDrawn(dnat)) {
      visit("dnat_1", service, backend, id);
      return;
    }
    visit("dnat_n", concatText(service, field.number.format(drawOf(count, index, isSticky))), backend, id);
  });
}

/**
 * How the clients of a range are distributed: by the buckets of a lookup, or by address if there are fewer addresses
 * than buckets.
 */
interface Share {
  readonly range: ClientRange;
  readonly members: readonly PoolMember[];
  readonly isByAddress: boolean;
  readonly lookup: Lookup;
}

/** A lookup has 16 buckets. Ranges of pools with more than 16 members use one with as many buckets as members. */
function shareOut(range: ClientRange, family: Family): Share {
  const { first, last, pool } = range;
  const members = bucketsOf(pool, family);
  const buckets = Math.max(members.length, poolBuckets);
  const isByAddress = members.length > 1 && family.count(first, last) < buckets;
  return {
    range,
    members,
    isByAddress,
    lookup: { interface: pool.interface, buckets: isByAddress ? poolBuckets : buckets },
  };
}

/** The lookup that every gateway has, then the additional ones of its pools, in a fixed order. */
function* lookupsOf({ externalInterface }: Program, shares: readonly Share[]): Chunked<readonly Lookup[]> {
  const first: Lookup = { interface: externalInterface, buckets: poolBuckets };
  const needed = new Map<string, Lookup>();
  yield* forEachChunked(shares, visitedAtOnce, ({ lookup }) => needed.set(lookupKey(lookup), lookup));
  needed.delete(lookupKey(first));
  const byKey = [...needed].sort(([one], [other]) => (one < other ? -1 : 1));
  return [first, ...byKey.map(([, lookup]) => lookup)];
}

function lookupKey(lookup: Lookup): string {
  return `${lookup.interface} ${lookup.buckets}`;
}

function* visitClients(
  share: Share,
  lookups: readonly Lookup[],
  { count, format, modulo, plus, zero }: Family,
  visit: WantedVisitor,
): Chunked<void> {
  const { range, members, isByAddress, lookup } = share;
  const own = lookupKey(lookup);
  const base = bucketBase(lookups.findIndex((one) => lookupKey(one) === own));
  const bucketText = (bucket: number) => format(plus(zero, base + bucket));
  const every = rangeText(bucketText(0), bucketText(lookup.buckets - 1));
  const add = (clients: string, buckets: string, bucket: number) => {
    const member = members[bucket % members.length];
    if (member === undefined) return;
    const map = member.mapping === "random" ? "snat_r" : "snat_p";
    visit(map, concatText(clients, buckets), member.eip, member.id);
  };

  const clients = rangeText(format(range.first), format(range.last));
  if (members.length === 1) add(clients, every, 0);
  else if (isByAddress)
    for (let index = 0; index < count(range.first, range.last); index++) {
      const address = plus(range.first, index);
      add(format(address), every, modulo(address, members.length));
    }
  else
    for (let bucket = 0; bucket < members.length; bucket++) {
      if (bucket % visitedAtOnce === visitedAtOnce - 1) yield;
      add(clients, bucketText(bucket), bucket);
    }
}
