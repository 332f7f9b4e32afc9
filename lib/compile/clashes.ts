/**
 * Who clashes with whom. Greedy, in order of creation: the elder stays, the younger is marked, and a marked object takes
 * nothing from others. The result depends on the stored set and the facts alone, never on the order of writes that
 * led to it (beyond the creation numbers that they left).
 *
 * Objects that can clash share a group: the Eips of one IP, the users of one Eip's name (whether it exists or not),
 * the Routes of one destination. What holds for all objects holds for any union of groups, so that a write can be
 * judged on the groups it touches.
 */

import { type Cidr, type Ipv4, networkOf } from "../model/ipv4.ts";
import { type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import type { Dnat, Fip, Gateway } from "../model/schema.ts";
import type { DesiredObjects } from "../state/desired.ts";
import { type ParsedEip, parsedEips } from "./parsed-eips.ts";

/** What is known of this gateway beyond the desired set. */
export interface Facts {
  /** The gateway's own addresses as last observed: no EIP and no internal IP may be one of them. */
  readonly ownAddresses: ReadonlySet<Ipv4>;
  /** The default gateway where the desired set gives none. */
  readonly fallbackGateway?: Ipv4 | undefined;
}

export interface Clash {
  /** The elder object in the way; `gateway`: the gateway's own or default route's address; `subnet`: a reserved address. */
  readonly with: ObjectId | "gateway" | "subnet";
  readonly message: string;
}

/** The part of the desired set that clashes are judged on. */
export type Claimants = DesiredObjects & { readonly gateway: Gateway };

/** Every object that is marked, with what it clashes with. Linear in the number of objects. */
export function findClashes(desired: Claimants, facts: Facts): ReadonlyMap<ObjectId, Clash> {
  const clashes = new Map<ObjectId, Clash>();
  const defaultGateway = desired.gateway.defaultGateway ?? facts.fallbackGateway;
  markEips(desired, facts, defaultGateway, clashes);
  markFipsAndDnats(desired, facts, clashes);
  markSnats(desired, clashes);
  markRoutes(desired, defaultGateway, clashes);
  return clashes;
}

type Clashes = Map<ObjectId, Clash>;

function markEips(
  desired: Claimants,
  facts: Facts,
  defaultGateway: Ipv4 | undefined,
  clashes: Clashes,
): void {
  const holders = new Map<Ipv4, ObjectId>();
  for (const eip of parsedEips(desired.eips)) {
    const { id, address } = eip;
    const holder = holders.get(address);
    const clash =
      reservedClash(eip, facts, defaultGateway) ??
      (holder === undefined ? undefined : taken(`${address} is the address of`, holder));
    if (clash === undefined) holders.set(address, id);
    else clashes.set(id, clash);
  }
}

function reservedClash(
  { spec, address, reserved }: ParsedEip,
  facts: Facts,
  defaultGateway: Ipv4 | undefined,
): Clash | undefined {
  if (facts.ownAddresses.has(address)) return ownAddress(address);
  if (address === defaultGateway)
    return { with: "gateway", message: `${address} is the default gateway's address` };
  if (reserved !== undefined)
    return { with: "subnet", message: `${address} is the ${reserved} address of ${networkOf(spec.address)}` };
  return undefined;
}

/** One EIP carries one FIP or any number of DNATs, each of its own port and protocol. */
function markFipsAndDnats(desired: Claimants, facts: Facts, clashes: Clashes): void {
  const fipOf = new Map<ObjectName, ObjectName>();
  const eldestDnatOf = new Map<ObjectName, ObjectName>();
  const dnatOf = new Map<string, ObjectName>();

  const clashOfFip = ({ eip, internalIp }: Fip): Clash | undefined => {
    if (facts.ownAddresses.has(internalIp)) return ownAddress(internalIp);
    const fip = fipOf.get(eip);
    if (fip !== undefined) return taken(`eip ${eip} carries`, objectId("fip", fip));
    const dnat = eldestDnatOf.get(eip);
    return dnat === undefined ? undefined : taken(`eip ${eip} carries`, objectId("dnat", dnat));
  };
  const clashOfDnat = (spec: Dnat, identity: string): Clash | undefined => {
    const own = internalIpsOf(spec).find((ip) => facts.ownAddresses.has(ip));
    if (own !== undefined) return ownAddress(own);
    const fip = fipOf.get(spec.eip);
    if (fip !== undefined) return taken(`eip ${spec.eip} carries`, objectId("fip", fip));
    const dnat = dnatOf.get(identity);
    if (dnat === undefined) return undefined;
    return taken(
      `${spec.protocol} port ${spec.externalPort} of eip ${spec.eip} is forwarded by`,
      objectId("dnat", dnat),
    );
  };

  const placeFip = (spec: Fip): void => {
    const clash = clashOfFip(spec);
    if (clash === undefined) fipOf.set(spec.eip, spec.name);
    else clashes.set(objectId("fip", spec.name), clash);
  };
  const placeDnat = (spec: Dnat): void => {
    const identity = `${spec.eip} ${spec.protocol} ${spec.externalPort}`;
    const clash = clashOfDnat(spec, identity);
    if (clash !== undefined) {
      clashes.set(objectId("dnat", spec.name), clash);
      return;
    }
    dnatOf.set(identity, spec.name);
    if (!eldestDnatOf.has(spec.eip)) eldestDnatOf.set(spec.eip, spec.name);
  };

  // Merged by creation number; each collection is in that order already.
  const dnats = desired.dnats.values();
  let dnat = dnats.next();
  for (const fip of desired.fips.values()) {
    for (; !dnat.done && dnat.value.creation < fip.creation; dnat = dnats.next()) placeDnat(dnat.value.spec);
    placeFip(fip.spec);
  }
  for (; !dnat.done; dnat = dnats.next()) placeDnat(dnat.value.spec);
}

function markSnats(desired: Claimants, clashes: Clashes): void {
  const holders = new Map<string, ObjectName>();
  for (const [name, { spec }] of desired.snats) {
    const identity = `${spec.eip} ${spec.internalCIDR}`;
    const holder = holders.get(identity);
    if (holder === undefined) holders.set(identity, name);
    else
      clashes.set(
        objectId("snat", name),
        taken(`${spec.internalCIDR} leaves by eip ${spec.eip} through`, objectId("snat", holder)),
      );
  }
}

function markRoutes(desired: Claimants, defaultGateway: Ipv4 | undefined, clashes: Clashes): void {
  const holders = new Map<Cidr, ObjectName>();
  for (const [name, { spec }] of desired.routes) {
    const holder = holders.get(spec.destination);
    const clash =
      defaultGateway !== undefined && spec.destination === everywhere
        ? { with: "gateway" as const, message: `the default route leads to ${defaultGateway}` }
        : holder === undefined
          ? undefined
          : taken(`${spec.destination} is the destination of`, objectId("route", holder));
    if (clash === undefined) holders.set(spec.destination, name);
    else clashes.set(objectId("route", name), clash);
  }
}

const everywhere = "0.0.0.0/0";

function internalIpsOf(spec: Dnat): readonly Ipv4[] {
  if (spec.backends !== undefined) return spec.backends.map((backend) => backend.ip);
  return spec.internalIp === undefined ? [] : [spec.internalIp];
}

function ownAddress(address: Ipv4): Clash {
  return { with: "gateway", message: `${address} is the gateway's own address` };
}

function taken(what: string, holder: ObjectId): Clash {
  return { with: holder, message: `${what} ${holder}` };
}
