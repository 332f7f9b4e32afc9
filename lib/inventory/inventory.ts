/**
 * The inventory: who holds each IP of the external subnets, and how many are free.
 *
 * Linear except for sorting: addresses and subnets are sorted once and traversed together. It yields between its parts,
 * since thousands of EIPs take long.
 */
import type { Chunked } from "../chunked.ts";
import { usersByEipChunked } from "../compile/references.ts";
import { familyOf } from "../model/families.ts";
import { addressOf, type Cidr, type Ip, prefixLengthOf } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import { type InterfaceName, type ObjectId, objectId } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import { boundBy } from "../plan/network/bindings.ts";
import type { DesiredObjects } from "../state/desired.ts";
import { addressesInOrder, countSubnets, type InventorySubnet } from "./subnets.ts";

export interface InventoryInput {
  readonly desired: DesiredObjects;
  readonly network: ObservedNetwork;
  /** The gateway's own addresses, on any interface. */
  readonly own: ReadonlySet<Ip>;
  /** Addresses that nothing explains: `AddressPlan.orphans` of the last plan, which is also what a release takes. */
  readonly orphans: ReadonlySet<Ip>;
  readonly ledger: Ledger;
  /** The default gateway in force, if known. */
  readonly gateway: Ip | undefined;
  readonly externalInterface: InterfaceName;
  /** EIPs that another host answered for. */
  readonly contested: ReadonlySet<Ip>;
}

/**
 * `self`: the gateway's own address. `gateway`: the next hop of the default route. `eip`: desired. `orphan`: on the
 * gateway, and neither desired nor the agent's. `conflict`: desired, but held by the gateway itself, its next hop or another host.
 */
export type Role = "self" | "gateway" | "eip" | "orphan" | "conflict";

export interface InventoryAddress {
  readonly ip: Ip;
  readonly role: Role;
  readonly interface: InterfaceName;
  /** The Eips with this IP, oldest first, each followed by its users. */
  readonly users: readonly ObjectId[];
}

export interface Inventory {
  /** Every IP once, in numeric order. */
  readonly addresses: readonly InventoryAddress[];
  /** No subnet lies inside another: a narrower one counts as part of the wider one. */
  readonly subnets: readonly InventorySubnet[];
}

interface Sighting {
  readonly interface: InterfaceName;
  readonly prefixLength: number;
}

interface DesiredIp {
  readonly sighting: Sighting;
  readonly users: ObjectId[];
}

/** Takes a few milliseconds. */
const addressesPerPart = 2_000;

/**
 * The union of the gateway's own addresses, its next hop, desired EIPs and orphans. An IP with two roles counts once.
 * Covers the external interface, the interfaces that Eips name, and those in the ledger.
 */
export function* inventory(input: InventoryInput): Chunked<Inventory> {
  const { own, orphans, gateway, contested, externalInterface } = input;
  const networks = new Set<Cidr>();
  const desired = yield* desiredByIp(input, networks);
  const observed = yield* observedByIp(input);
  const ips = new Set<Ip>();
  yield* eachOf(desired.keys(), (ip) => ips.add(ip));
  // What else is there is the agent's, and the next pass removes it.
  yield* eachOf(observed.keys(), (ip) => {
    if (own.has(ip) || orphans.has(ip)) ips.add(ip);
  });
  if (gateway !== undefined) ips.add(gateway);
  const inOrder = yield* addressesInOrder(ips);

  const roleOf = (ip: Ip, isDesired: boolean): Role => {
    if (isDesired) return own.has(ip) || ip === gateway || contested.has(ip) ? "conflict" : "eip";
    if (own.has(ip)) return "self";
    return ip === gateway ? "gateway" : "orphan";
  };
  const addresses: InventoryAddress[] = [];
  yield* eachOf(inOrder, ({ ip, family }) => {
    const wanted = desired.get(ip);
    const sighting = observed.get(ip) ?? wanted?.sighting;
    if (sighting !== undefined) networks.add(family.makeCidr(ip, sighting.prefixLength));
    addresses.push({
      ip,
      role: roleOf(ip, wanted !== undefined),
      interface: sighting?.interface ?? externalInterface,
      users: wanted?.users ?? [],
    });
  });
  return { addresses, subnets: yield* countSubnets(networks, inOrder) };
}

/** Adds the subnets of all Eips to `networks`. */
function* desiredByIp(
  { desired, externalInterface }: InventoryInput,
  networks: Set<Cidr>,
): Chunked<ReadonlyMap<Ip, DesiredIp>> {
  const usersOf = yield* usersByEipChunked(desired);
  const byIp = new Map<Ip, DesiredIp>();
  yield* eachOf(desired.eips, ([name, { spec }]) => {
    const ip = addressOf(spec.address);
    let entry = byIp.get(ip);
    if (entry === undefined) {
      const prefixLength = prefixLengthOf(spec.address);
      entry = { sighting: { interface: spec.interface ?? externalInterface, prefixLength }, users: [] };
      byIp.set(ip, entry);
    }
    entry.users.push(objectId("eip", name));
    for (const user of usersOf.get(name) ?? []) entry.users.push(user);
    networks.add(familyOf(spec.address).networkOf(spec.address));
  });
  return byIp;
}

/** The addresses on the interfaces that the inventory covers. An EIP bound by a route counts as an address. */
function* observedByIp({
  desired,
  network,
  ledger,
  externalInterface,
}: InventoryInput): Chunked<ReadonlyMap<Ip, Sighting>> {
  const covered = new Set<InterfaceName>([externalInterface]);
  yield* eachOf(desired.eips.values(), ({ spec }) => {
    if (spec.interface !== undefined) covered.add(spec.interface);
  });
  const entered = new Set<string>();
  yield* eachOf(ledger.addresses.values(), (entry) => entered.add(`${entry.interface} ${entry.address}`));
  const sightings = new Map<Ip, Sighting>();
  const see = (ip: Ip, sighting: Sighting): void => {
    // The same IP can exist there twice with different prefix lengths. The wider one is the prefix of the subnet.
    const known = sightings.get(ip);
    if (known === undefined || sighting.prefixLength < known.prefixLength) sightings.set(ip, sighting);
  };
  yield* eachOf(network.addresses, (entry) => {
    if (covered.has(entry.interface) || entered.has(`${entry.interface} ${entry.address}`)) {
      see(entry.address, entry);
    }
  });
  yield* eachOf(network.routes, (route) => {
    const place = boundBy(route);
    if (place !== undefined) see(place.address, { ...place, prefixLength: familyOf(place.address).bits });
  });
  return sightings;
}

function* eachOf<T>(items: Iterable<T>, visit: (item: T) => void): Chunked<void> {
  let visited = 0;
  for (const item of items) {
    if (++visited % addressesPerPart === 0) yield;
    visit(item);
  }
  yield;
}
