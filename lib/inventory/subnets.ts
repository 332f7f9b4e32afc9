/** Counts subnets. Addresses and subnets are both sorted, so one pass over each is enough. */
import { type Chunked, sortChunked } from "../chunked.ts";
import { familyOf } from "../model/families.ts";
import { type AddressValue, compareValues, type Family } from "../model/family.ts";
import { type Cidr, type Ip, prefixLengthOf } from "../model/ip.ts";

export interface InventorySubnet {
  readonly cidr: Cidr;
  /** Number of host addresses: without network and broadcast address. */
  readonly capacity: number;
  readonly used: number;
  readonly free: number;
}

/** An address with its sort key. */
export interface PlacedAddress {
  readonly ip: Ip;
  readonly family: Family;
  readonly value: AddressValue;
}

interface PlacedNetwork {
  readonly cidr: Cidr;
  readonly family: Family;
  readonly value: AddressValue;
  readonly last: AddressValue;
}

/** Takes a few milliseconds. */
const countedAtOnce = 2_000;

/** Family by family, in numeric order. */
export function* addressesInOrder(ips: ReadonlySet<Ip>): Chunked<readonly PlacedAddress[]> {
  const placed: PlacedAddress[] = [];
  for (const ip of ips) {
    const family = familyOf(ip);
    placed.push({ ip, family, value: family.toValue(ip) });
    if (placed.length % countedAtOnce === 0) yield;
  }
  return yield* sortChunked(placed, byPlace);
}

/**
 * Those of `networks` that lie in no other, family by family in numeric order, each with the number of `addresses` in
 * it.
 * @param addresses without duplicates, sorted by {@link addressesInOrder}
 */
export function* countSubnets(
  networks: ReadonlySet<Cidr>,
  addresses: readonly PlacedAddress[],
): Chunked<readonly InventorySubnet[]> {
  const subnets: InventorySubnet[] = [];
  let at = 0;
  let outer: PlacedNetwork | undefined;
  for (const [index, network] of (yield* networksInOrder(networks)).entries()) {
    if (index % countedAtOnce === countedAtOnce - 1) yield;
    // Two networks are either nested or disjoint. So in sorted order the wider one comes first, followed by those
    // inside it.
    if (outer !== undefined && !isBeyond(network, outer)) continue;
    outer = network;
    const { cidr, family } = network;
    const reserved = family.reservedOf(cidr);
    let used = 0;
    for (let next = addresses[at]; next !== undefined && !isBeyond(next, network); next = addresses[++at]) {
      if (at % countedAtOnce === countedAtOnce - 1) yield;
      const isWithin = byPlace(next, network) >= 0;
      if (isWithin && next.ip !== reserved?.network && next.ip !== reserved?.broadcast) used++;
    }
    const capacity = 2 ** (family.bits - prefixLengthOf(cidr)) - (reserved === undefined ? 0 : 2);
    subnets.push({ cidr, capacity, used, free: capacity - used });
  }
  return subnets;
}

function* networksInOrder(networks: ReadonlySet<Cidr>): Chunked<readonly PlacedNetwork[]> {
  const placed: PlacedNetwork[] = [];
  for (const cidr of networks) {
    const family = familyOf(cidr);
    const [value, last] = family.rangeOf(cidr);
    placed.push({ cidr, family, value, last });
    if (placed.length % countedAtOnce === 0) yield;
  }
  const widerFirst = (one: PlacedNetwork, other: PlacedNetwork) =>
    byPlace(one, other) || compareValues(other.last, one.last);
  return yield* sortChunked(placed, widerFirst);
}

/** True if it comes after all addresses of `network`. */
function isBeyond(
  { family, value }: Pick<PlacedAddress, "family" | "value">,
  network: PlacedNetwork,
): boolean {
  if (family !== network.family) return family.version > network.family.version;
  return compareValues(value, network.last) > 0;
}

function byPlace(
  one: Pick<PlacedAddress, "family" | "value">,
  other: Pick<PlacedAddress, "family" | "value">,
): number {
  return one.family.version - other.family.version || compareValues(one.value, other.value);
}
