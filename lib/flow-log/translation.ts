/** Which EIPs a flow uses, and which object made it so. */
import { type Chunked, everyNth } from "../chunked.ts";
import { protocolNumber } from "../conntrack/destinations.ts";
import type { FlowView } from "../conntrack/flow.ts";
import { PrefixTable } from "../conntrack/prefix-table.ts";
import type { AddressKey, Family } from "../model/family.ts";
import { addressOf, type Cidr, type Ip } from "../model/ip.ts";
import { type ObjectId, objectId } from "../model/names.ts";
import type { Desired } from "../state/desired.ts";

/**
 * - `source`: the kernel gave the flow an EIP as source (SNAT, a FIP outwards, hairpin)
 * - `destination`: the flow came to an EIP and leads to an internal IP (DNAT, a FIP inwards)
 */
export type TranslatedSide = "source" | "destination";

/** By addresses and ports, not by status bits: those are also set where a port clash only changed the port. */
export function isTranslated(flow: Readonly<FlowView>, side: TranslatedSide): boolean {
  return side === "source"
    ? flow.replyDestination !== flow.originalSource
    : flow.replySource !== flow.originalDestination;
}

/** The object that translates this side of the flow, as far as the desired set tells. */
export type ObjectOf = (flow: Readonly<FlowView>, side: TranslatedSide) => ObjectId | undefined;

/** Takes a few milliseconds. */
const notedAtOnce = 2_000;

/** Compiles the lookup for a desired set. Of objects that clash the oldest counts. It costs a few map lookups per flow. */
export function* compileObjects(desired: Desired, family: Family): Chunked<ObjectOf> {
  const { keyOf, toValue } = family;
  const isDue = everyNth(notedAtOnce);
  const keys = new Map<string, AddressKey>();
  const key = (ip: Ip) => keyOf(toValue(ip));
  const claimed = new Set<AddressKey>();
  for (const { spec } of desired.eips.values()) {
    if (isDue()) yield;
    const address = key(addressOf(spec.address));
    // Of two Eips that claim one address the older has it: what uses the other has no rule.
    if (claimed.has(address)) continue;
    claimed.add(address);
    keys.set(spec.name, address);
  }
  const fips = new Map<AddressKey, { readonly id: ObjectId; readonly internal: AddressKey }>();
  for (const { spec } of desired.fips.values()) {
    if (isDue()) yield;
    const eip = keys.get(spec.eip);
    if (eip === undefined || fips.has(eip)) continue;
    fips.set(eip, { id: objectId("fip", spec.name), internal: key(spec.internalIp as Ip) });
  }
  const snats = new Map<AddressKey, PrefixTable<ObjectId>>();
  for (const { spec } of desired.snats.values()) {
    if (isDue()) yield;
    const eip = keys.get(spec.eip);
    if (eip === undefined) continue;
    const table = snats.get(eip) ?? new PrefixTable<ObjectId>(family);
    snats.set(eip, table);
    if (table.has(spec.internalCIDR as Cidr)) continue;
    table.set(spec.internalCIDR as Cidr, objectId("snat", spec.name));
  }
  const dnats = new Map<AddressKey, Map<number, ObjectId>>();
  for (const { spec } of desired.dnats.values()) {
    if (isDue()) yield;
    const eip = keys.get(spec.eip);
    if (eip === undefined) continue;
    const services = dnats.get(eip) ?? new Map<number, ObjectId>();
    dnats.set(eip, services);
    const service = serviceKey(protocolNumber[spec.protocol], spec.externalPort);
    if (!services.has(service)) services.set(service, objectId("dnat", spec.name));
  }
  return (flow, side) => {
    if (side === "source") {
      const eip = keyOf(flow.replyDestination);
      const fip = fips.get(eip);
      if (fip?.internal === keyOf(flow.originalSource)) return fip.id;
      return snats.get(eip)?.longest(flow.originalSource);
    }
    const eip = keyOf(flow.originalDestination);
    const fip = fips.get(eip);
    if (fip?.internal === keyOf(flow.replySource)) return fip.id;
    return dnats.get(eip)?.get(serviceKey(flow.protocol, flow.originalDestinationPort));
  };
}

function serviceKey(protocol: number, port: number): number {
  return (protocol << 16) | port;
}
