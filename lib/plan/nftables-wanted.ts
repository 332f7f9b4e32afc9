/** The elements that a program asks for, each with the object that asks for it, and the frame that they need. */
import { fromU32 } from "../model/ipv4.ts";
import type { ObjectId } from "../model/names.ts";
import { bucketsOf, type Program, type ProgramDnat, poolBuckets } from "../model/program.ts";
import { bucketBase, type Frame, type Lookup } from "../nftables/frame.ts";
import { type ByMap, byMap, concatText, rangeText } from "../nftables/maps.ts";
import { type ClientRange, flatten } from "./nftables-clients.ts";

export interface WantedElement {
  readonly value: string;
  readonly object: ObjectId;
}

/** By key, for each map. */
export type WantedElements = ByMap<ReadonlyMap<string, WantedElement>>;

export interface WantedTable {
  readonly frame: Frame;
  readonly elements: WantedElements;
}

/** Shares of a DNAT's new flows: what `numgen random mod` draws from. */
const shares = 65_536;

export function wantedTable(program: Program): WantedTable {
  const elements: Building = byMap(() => new Map());
  for (const { id, eip, internalIp, isOutward } of program.fips) {
    elements.fip_in.set(eip, { value: internalIp, object: id });
    if (isOutward) elements.fip_out.set(internalIp, { value: eip, object: id });
  }
  for (const dnat of program.dnats) addBackends(dnat, elements);
  for (const { id, address } of program.eips) elements.hairpin.set(address, { value: address, object: id });
  const ranges = rangesByInterface(program);
  const lookups = lookupsOf(program, ranges);
  for (const range of ranges) addClients(range, lookups, elements);
  return { frame: { vpcInterface: program.vpcInterface, lookups }, elements };
}

type Building = ByMap<Map<string, WantedElement>>;

function addBackends(dnat: ProgramDnat, elements: Building): void {
  const { id, eip, protocol, externalPort, backends } = dnat;
  const service = concatText(eip, protocol, externalPort);
  const count = backends.length;
  backends.forEach(({ ip, port }, index) => {
    const element = { value: concatText(ip, port), object: id };
    if (count === 1) {
      elements.dnat_1.set(service, element);
      return;
    }
    const first = Math.floor((index * shares) / count);
    const last = Math.floor(((index + 1) * shares) / count) - 1;
    elements.dnat_n.set(concatText(service, rangeText(first, last)), element);
  });
}

function rangesByInterface({ pools }: Program): readonly ClientRange[] {
  return [...Map.groupBy(pools, (pool) => pool.interface).values()].flatMap(flatten);
}

/** The lookup that every gateway has, then those that its pools need besides, in an order of their own. */
function lookupsOf({ externalInterface }: Program, ranges: readonly ClientRange[]): readonly Lookup[] {
  const first: Lookup = { interface: externalInterface, buckets: poolBuckets };
  const needed = new Map<string, Lookup>();
  for (const range of ranges) {
    const lookup = lookupOf(range);
    needed.set(lookupKey(lookup), lookup);
  }
  needed.delete(lookupKey(first));
  const byKey = [...needed].sort(([one], [other]) => (one < other ? -1 : 1));
  return [first, ...byKey.map(([, lookup]) => lookup)];
}

/**
 * A range of fewer addresses than its pool has buckets is told apart address by address. So a lookup has
 * 16 buckets, but for ranges of pools with more than 16 members: it has as many as they.
 */
function lookupOf(range: ClientRange): Lookup {
  const { length } = bucketsOf(range.pool);
  const buckets = isByAddress(range) ? poolBuckets : Math.max(length, poolBuckets);
  return { interface: range.pool.interface, buckets };
}

function isByAddress({ first, last, pool }: ClientRange): boolean {
  const { length } = bucketsOf(pool);
  return length > 1 && last - first + 1 < Math.max(length, poolBuckets);
}

function lookupKey(lookup: Lookup): string {
  return `${lookup.interface} ${lookup.buckets}`;
}

function addClients(range: ClientRange, lookups: readonly Lookup[], elements: Building): void {
  const own = lookupKey(lookupOf(range));
  const number = lookups.findIndex((lookup) => lookupKey(lookup) === own);
  const base = bucketBase(number);
  const every = rangeText(fromU32(base), fromU32(base + (lookups[number]?.buckets ?? 0) - 1));
  const members = bucketsOf(range.pool);
  const add = (clients: string, buckets: string, bucket: number) => {
    const member = members[bucket % members.length] ?? members[0];
    if (member === undefined) return;
    const { id, eip, mapping } = member;
    const map = mapping === "random" ? elements.snat_r : elements.snat_p;
    map.set(concatText(clients, buckets), { value: eip, object: id });
  };

  const clients = rangeText(fromU32(range.first), fromU32(range.last));
  if (members.length === 1) add(clients, every, 0);
  else if (isByAddress(range))
    for (let address = range.first; address <= range.last; address++) add(fromU32(address), every, address);
  else for (let bucket = 0; bucket < members.length; bucket++) add(clients, fromU32(base + bucket), bucket);
}
