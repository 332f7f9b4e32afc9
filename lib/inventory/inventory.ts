/** The inventory: who holds each IP of the outside subnets, and how many are left. */

import { usersByEip } from "../compile/references.ts";
import { familyOf } from "../model/families.ts";
import { compareValues } from "../model/family.ts";
import { addressOf, type Cidr, type Ip, prefixLengthOf } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import { type InterfaceName, type ObjectId, objectId } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import { boundByRoute } from "../plan/network/bindings.ts";
import type { DesiredObjects } from "../state/desired.ts";

export interface InventoryInput {
  readonly desired: DesiredObjects;
  readonly network: ObservedNetwork;
  /** The gateway's own addresses, on any interface. */
  readonly own: ReadonlySet<Ip>;
  readonly ledger: Ledger;
  /** The default gateway in force, if one is known. */
  readonly gateway: Ip | undefined;
  readonly externalInterface: InterfaceName;
  /** EIPs that another machine answered for. */
  readonly contested: ReadonlySet<Ip>;
}

/**
 * `self`: the gateway's own. `gateway`: the default route's next hop. `eip`: desired. `orphan`: on the gateway, though
 * nobody asks for it. `conflict`: desired, and held by the gateway itself, its next hop or another machine.
 */
export type Role = "self" | "gateway" | "eip" | "orphan" | "conflict";

export interface InventoryAddress {
  readonly ip: Ip;
  readonly role: Role;
  readonly interface: InterfaceName;
  /** The Eips that name the IP, elder first, each followed by what uses it. */
  readonly users: readonly ObjectId[];
}

export interface InventorySubnet {
  readonly cidr: Cidr;
  /** Addresses that hosts may hold: without network and broadcast address. */
  readonly capacity: number;
  readonly used: number;
  readonly free: number;
}

export interface Inventory {
  /** Every IP once, in numeric order. */
  readonly addresses: readonly InventoryAddress[];
  /** No subnet lies in another: a narrower one counts into the wider. */
  readonly subnets: readonly InventorySubnet[];
}

interface Sighting {
  readonly interface: InterfaceName;
  readonly prefixLength: number;
}

/**
 * A set union of self, gateway, desired and orphan: an IP with two reasons to be there counts once. It covers the
 * external interface, the interfaces that Eips name, and what the ledger says was put elsewhere.
 */
export function inventory(input: InventoryInput): Inventory {
  const { own, gateway, contested, externalInterface } = input;
  const desired = desiredByIp(input.desired, externalInterface);
  const observed = observedByIp(input);
  const ips = new Set<Ip>([...observed.keys(), ...desired.keys()]);
  if (gateway !== undefined) ips.add(gateway);
  const roleOf = (ip: Ip): Role => {
    const isHeld = own.has(ip) || ip === gateway || contested.has(ip);
    if (desired.has(ip)) return isHeld ? "conflict" : "eip";
    if (own.has(ip)) return "self";
    return ip === gateway ? "gateway" : "orphan";
  };
  const addresses = Array.from(ips, (ip) => ({ ip, value: familyOf(ip).toValue(ip) }))
    .sort((one, other) => compareValues(one.value, other.value))
    .map(({ ip }) => ({
      ip,
      role: roleOf(ip),
      interface: (observed.get(ip) ?? desired.get(ip)?.sighting)?.interface ?? externalInterface,
      users: desired.get(ip)?.users ?? [],
    }));
  const networks = new Set<Cidr>();
  for (const ip of ips) {
    const sighting = observed.get(ip) ?? desired.get(ip)?.sighting;
    if (sighting !== undefined) networks.add(familyOf(ip).makeCidr(ip, sighting.prefixLength));
  }
  for (const { spec } of input.desired.eips.values())
    networks.add(familyOf(spec.address).networkOf(spec.address));
  return { addresses, subnets: widest(networks).map((cidr) => countSubnet(cidr, addresses)) };
}

function desiredByIp(
  desired: DesiredObjects,
  externalInterface: InterfaceName,
): ReadonlyMap<Ip, { readonly sighting: Sighting; readonly users: readonly ObjectId[] }> {
  const usersOf = usersByEip(desired);
  const byIp = new Map<Ip, { sighting: Sighting; users: ObjectId[] }>();
  for (const [name, { spec }] of desired.eips) {
    const ip = addressOf(spec.address);
    const entry = byIp.get(ip) ?? {
      sighting: {
        interface: spec.interface ?? externalInterface,
        prefixLength: prefixLengthOf(spec.address),
      },
      users: [],
    };
    entry.users.push(objectId("eip", name), ...(usersOf.get(name) ?? []));
    byIp.set(ip, entry);
  }
  return byIp;
}

/** What stands on the interfaces that the inventory covers. An EIP bound by a route of the agent's counts as an address. */
function observedByIp({ desired, network, ledger, externalInterface }: InventoryInput): Map<Ip, Sighting> {
  const covered = new Set<InterfaceName>([externalInterface]);
  for (const { spec } of desired.eips.values()) if (spec.interface !== undefined) covered.add(spec.interface);
  const entered = new Set(
    Array.from(ledger.addresses.values(), (entry) => `${entry.interface} ${entry.address}`),
  );
  const sightings = new Map<Ip, Sighting>();
  const see = (ip: Ip, sighting: Sighting): void => {
    // The same IP may stand there twice with different prefixes: the wider one is the subnet's.
    const known = sightings.get(ip);
    if (known === undefined || sighting.prefixLength < known.prefixLength) sightings.set(ip, sighting);
  };
  for (const entry of network.addresses) {
    if (covered.has(entry.interface) || entered.has(`${entry.interface} ${entry.address}`)) {
      see(entry.address, entry);
    }
  }
  for (const place of boundByRoute(network))
    see(place.address, { ...place, prefixLength: familyOf(place.address).bits });
  return sightings;
}

/** Those that lie in no other, in numeric order. */
function widest(networks: ReadonlySet<Cidr>): readonly Cidr[] {
  const sorted = [...networks].sort(
    (one, other) => prefixLengthOf(one) - prefixLengthOf(other) || byFirst(one, other),
  );
  const kept: Cidr[] = [];
  for (const cidr of sorted) {
    const family = familyOf(cidr);
    const isWithin = (wider: Cidr) => family.owns(wider) && family.contains(wider, addressOf(cidr));
    if (!kept.some(isWithin)) kept.push(cidr);
  }
  return kept.sort(byFirst);
}

function byFirst(one: Cidr, other: Cidr): number {
  return compareValues(familyOf(one).rangeOf(one)[0], familyOf(other).rangeOf(other)[0]);
}

function countSubnet(cidr: Cidr, addresses: readonly InventoryAddress[]): InventorySubnet {
  const family = familyOf(cidr);
  const reserved = family.reservedOf(cidr);
  const capacity = 2 ** (family.bits - prefixLengthOf(cidr)) - (reserved === undefined ? 0 : 2);
  const used = addresses.filter(
    ({ ip }) =>
      family.owns(ip) && family.contains(cidr, ip) && ip !== reserved?.network && ip !== reserved?.broadcast,
  ).length;
  return { cidr, capacity, used, free: capacity - used };
}
