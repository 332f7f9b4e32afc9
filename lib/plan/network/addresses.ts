/** Plans what binds EIPs to their interfaces: addresses or local routes. */

import { type Chunked, everyNth, filterChunked, forEachChunked, runSync } from "../../chunked.ts";
import type { Change } from "../../model/change.ts";
import type { Family } from "../../model/family.ts";
import type { Ip } from "../../model/ip.ts";
import { type Ledger, type LedgerAddress, ledgerKey } from "../../model/ledger.ts";
import { isSameEntry, ledgerIndex } from "../../model/ledger-index.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { ObservedAddress, ObservedNetwork } from "../../model/observed.ts";
import type { Program, ProgramEip } from "../../model/program.ts";
import type { AddressPlan, AddressStep, Binding, BlockedAddress } from "../address-plan.ts";
import { chooseAnchors } from "./anchors.ts";
import { bindingRoute, boundBy, boundByRouteChunked, placeKey, routeOfAddress } from "./bindings.ts";
import { ownAddressesChunked } from "./own-addresses.ts";
import { routeText } from "./routes.ts";
import { isBare, routeRepairs, unansweredOf } from "./unrouted.ts";

export interface AddressInput {
  readonly program: Program;
  readonly observed: ObservedNetwork;
  /** The ledger of this epoch. */
  readonly ledger: Ledger;
  /** The IPs that owned rules have as EIP. */
  readonly ownedByRules: ReadonlySet<Ip>;
  /** The result of {@link ownAddressesChunked}, if already known. */
  readonly own?: ReadonlySet<Ip>;
  /** IPs whose removal has to wait, because their rules or flows must be removed first. */
  readonly keep: ReadonlySet<Ip>;
  /** How EIPs are to be bound. Other bindings are removed. */
  readonly binding: Binding;
}

/**
 * Plans the bindings that the program and the setting ask for.
 *
 * The agent owns the addresses in its ledger. It adopts an address into the ledger if a desired Eip names it, or if it
 * is a secondary address and an owned rule names it. From then on it keeps or removes it like any other. A primary
 * address that only a rule names stays: a stray rule must not cost the gateway its own address. The agent's local
 * routes identify themselves by their protocol; their EIPs are in the ledger all the same, so that it lists everything
 * held in this epoch.
 */
export function planAddresses(input: AddressInput): AddressPlan {
  return runSync(planAddressesChunked(input));
}

/** Takes a few milliseconds. */
const plannedAtOnce = 4_000;

/** The same in parts. */
export function* planAddressesChunked(input: AddressInput): Chunked<AddressPlan> {
  const { program, observed, ledger, ownedByRules, keep, binding } = input;
  const { vpcInterface, family } = program;
  const own =
    input.own ?? (yield* ownAddressesChunked({ observed, ledger, ownedByRules, vpcInterface, family }));
  // By IP alone, the identity of an Eip. Building a key for each of 10,000 would take most of the time.
  const desired = new Map<Ip, ProgramEip>();
  const isDue = everyNth(plannedAtOnce);
  for (const eip of program.eips) {
    if (isDue()) yield;
    if (!own.has(eip.address)) desired.set(eip.address, eip);
  }
  const isDesired = (entry: LedgerAddress) => {
    const eip = desired.get(entry.address);
    return eip !== undefined && isSameEntry(eip, entry);
  };
  yield;
  const index = yield* ledgerIndex(ledger);
  yield;

  /** EIPs that are correctly bound. */
  const present = new Set<Ip>();
  /** Ledger entries that are present but not desired. */
  const written = new Set<string>();
  const toRemove = new Set<ObservedAddress>();
  const orphans: LedgerAddress[] = [];
  const ledgerMissing = new Map<string, LedgerAddress>();
  for (const address of observed.addresses) {
    if (isDue()) yield;
    const isWritten = index.has(address);
    const isAsked = isDesired(address);
    if (isWritten && !isAsked) written.add(ledgerKey(address));
    if (!isAsked && !isWritten) {
      const isOwn = own.has(address.address);
      const isNamed = ownedByRules.has(address.address) && address.isSecondary && !isOwn;
      if (!isNamed && !isOwn && !desired.has(address.address)) orphans.push(entryOf(address));
      if (!isNamed) continue;
    }
    if (!isWritten) ledgerMissing.set(ledgerKey(address), entryOf(address));
    if (isAsked && binding === "address") present.add(address.address);
    else if (!keep.has(address.address)) toRemove.add(address);
  }

  const remove: AddressStep[] = [];
  const routed = yield* boundByRouteChunked(observed);
  for (const place of routed) {
    if (isDue()) yield;
    const eip = desired.get(place.address);
    if (binding === "route" && eip?.interface === place.interface) {
      present.add(place.address);
      if (!index.has(eip)) ledgerMissing.set(ledgerKey(eip), entryOf(eip));
    } else if (!keep.has(place.address)) {
      remove.push({
        kind: "remove",
        binding: "route",
        entry: { ...place, prefixLength: family.bits },
        ...askedBy(eip),
      });
    }
  }

  const add: AddressStep[] = [];
  const blocked: BlockedAddress[] = [];
  const links = new Set(observed.links.map((link) => link.name));
  for (const eip of desired.values()) {
    if (isDue()) yield;
    if (present.has(eip.address)) continue;
    const entry = entryOf(eip);
    if (links.has(eip.interface)) add.push({ kind: "add", binding, entry, object: eip.id });
    else {
      const message = `interface ${eip.interface} does not exist`;
      blocked.push({ object: eip.id, entry, code: "interface-missing", message });
    }
  }
  if (binding === "address") add.push(...routeRepairs(observed, desired, present));
  const bindable = binding === "route" ? [...desired.values()].filter((eip) => links.has(eip.interface)) : [];
  yield;
  const anchors = yield* chooseAnchors(bindable, observed, toRemove);
  yield;
  for (const { eip, standing } of anchors) {
    if (standing !== undefined) toRemove.delete(standing);
    else add.push({ kind: "add", binding: "address", entry: entryOf(eip) });
  }

  const staying =
    toRemove.size === 0 ? observed.addresses : observed.addresses.filter((address) => !toRemove.has(address));
  yield;
  // Without promote_secondaries the kernel deletes the secondary addresses of the subnet together with the primary.
  const secondaries = new Set<string>();
  for (const address of toRemove.size === 0 ? [] : staying) {
    if (isDue()) yield;
    if (address.isSecondary) secondaries.add(subnetKey(address, family));
  }
  for (const { entry, binding: by } of toRemove.size === 0 ? [] : add) {
    if (isDue()) yield;
    if (by === "address") secondaries.add(subnetKey(entry, family));
  }
  for (const address of secondariesFirst(toRemove)) {
    if (isDue()) yield;
    const entry = entryOf(address);
    const isAlone = address.isSecondary || isPromoting(observed, address.interface, family);
    if (isAlone || !secondaries.has(subnetKey(address, family))) {
      remove.push({ kind: "remove", binding: "address", entry, ...askedBy(desired.get(address.address)) });
      continue;
    }
    const message = `promote_secondaries is off on ${address.interface}: removing it would remove other addresses too`;
    blocked.push({ entry, code: "promote-secondaries-off", message });
  }

  // While the IP exists with another prefix length, forgetting its entry could turn it into the gateway's own address.
  const ledgerGone: LedgerAddress[] = [];
  for (const entry of ledger.addresses.values()) {
    if (isDue()) yield;
    if (!isDesired(entry) && !written.has(ledgerKey(entry))) ledgerGone.push(entry);
  }
  const places = new Set<string>();
  for (const place of ledgerGone.length === 0 ? [] : [...staying, ...routed]) {
    if (isDue()) yield;
    places.add(placeKey(place));
  }
  const ledgerStale = yield* filterChunked(
    ledgerGone,
    plannedAtOnce,
    (entry) => !places.has(placeKey(entry)),
  );
  return {
    add,
    remove,
    own,
    orphans,
    ledgerMissing: [...ledgerMissing.values()],
    ledgerStale,
    anchors: anchors.map(({ eip }) => eip.id),
    ...(isBare(vpcInterface, observed) && { isVpcBare: true }),
    ...(observed.unrouted !== undefined && { unanswered: unansweredOf(program, observed.unrouted, own) }),
    blocked,
  };
}

/**
 * Removals that are allowed although the kernel refused to bind `refused`. A removal that makes room for another
 * binding waits for that binding.
 */
export function removableFrom(
  { remove }: AddressPlan,
  refused: ReadonlySet<ObjectId | undefined>,
): readonly AddressStep[] {
  return remove.filter(({ object }) => object === undefined || !refused.has(object));
}

/** The network after the removals in `steps`. */
export function withoutRemoved(...given: Parameters<typeof withoutRemovedChunked>): ObservedNetwork {
  return runSync(withoutRemovedChunked(...given));
}

/** The same in parts. */
export function* withoutRemovedChunked(
  observed: ObservedNetwork,
  steps: readonly AddressStep[],
): Chunked<ObservedNetwork> {
  const leaving = { address: new Set<string>(), route: new Set<string>() } satisfies Record<Binding, object>;
  yield* forEachChunked(steps, plannedAtOnce, ({ binding, entry }) =>
    leaving[binding].add(binding === "address" ? ledgerKey(entry) : placeKey(entry)),
  );
  const addresses = yield* filterChunked(
    observed.addresses,
    plannedAtOnce,
    (address) => !leaving.address.has(ledgerKey(address)),
  );
  const routes = yield* filterChunked(observed.routes, plannedAtOnce, (route) => {
    const place = boundBy(route);
    return place === undefined || !leaving.route.has(placeKey(place));
  });
  return { ...observed, addresses, routes };
}

/** The step as a change for people, as an `ip` command. */
export function describeAddressStep({ kind, binding, entry, routeSource, object }: AddressStep): Change {
  const asked = object === undefined ? {} : { object };
  if (routeSource !== undefined) {
    const text = `ip route append ${routeText(routeOfAddress(entry, routeSource))} src ${routeSource}`;
    return { action: kind, subsystem: "address", ...asked, text };
  }
  if (binding === "route") {
    const text = `ip route ${kind === "add" ? "append" : "del"} ${routeText(bindingRoute(entry))}`;
    return { action: kind, subsystem: "address", ...asked, text };
  }
  const { interface: name, address, prefixLength } = entry;
  const text = `ip address ${kind === "add" ? "add" : "del"} ${address}/${prefixLength} dev ${name}`;
  return { action: kind, subsystem: "address", ...asked, text };
}

/**
 * When a primary address is removed, the kernel moves the routes of all its secondaries. So secondaries are removed
 * first.
 */
function secondariesFirst(addresses: Iterable<ObservedAddress>): readonly ObservedAddress[] {
  return [...addresses].toSorted((one, other) => Number(other.isSecondary) - Number(one.isSecondary));
}

function askedBy(eip: ProgramEip | undefined): Pick<AddressStep, "object"> {
  return eip === undefined ? {} : { object: eip.id };
}

function isPromoting({ sysctls }: ObservedNetwork, name: InterfaceName, family: Family): boolean {
  return sysctls.get(family.sysctls.ofDevice(name, "promote_secondaries")) === 1;
}

/** Equal for addresses of one subnet of an interface. */
function subnetKey({ interface: name, address, prefixLength }: LedgerAddress, { makeCidr }: Family): string {
  return `${name} ${makeCidr(address, prefixLength)}`;
}

/** The entry of the ledger for it. */
export function entryOf({ interface: name, address, prefixLength }: LedgerAddress): LedgerAddress {
  return { interface: name, address, prefixLength };
}
