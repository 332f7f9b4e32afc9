/** Plans the EIPs' addresses on their interfaces. */
import { type Ledger, type LedgerAddress, ledgerKey } from "../admission/state.ts";
import { type Cidr, contains, type Ipv4, makeCidr } from "../model/ipv4.ts";
import type { InterfaceName, ObjectId } from "../model/names.ts";
import type { ObservedAddress, ObservedNetwork } from "../model/observed.ts";
import type { Program, ProgramEip } from "../model/program.ts";
import type { Change } from "./change.ts";

export interface AddressStep {
  readonly kind: "add" | "remove";
  readonly entry: LedgerAddress;
  /** The Eip that asks for it; absent for what goes. */
  readonly object?: ObjectId;
}

export interface AddressInput {
  readonly program: Program;
  readonly observed: ObservedNetwork;
  /** Of this epoch. */
  readonly ledger: Ledger;
  /** The IPs that owned rules name as EIP. */
  readonly ownedByRules: ReadonlySet<Ipv4>;
  /** IPs whose removal has to wait: their rules or flows go first. */
  readonly keep: ReadonlySet<Ipv4>;
}

export interface AddressPlan {
  /** To be applied before {@link remove}, so that an EIP that changes its prefix length stays local throughout. */
  readonly add: readonly AddressStep[];
  readonly remove: readonly AddressStep[];
  /** The gateway's own addresses, `self`. An Eip that names one gets no step. */
  readonly own: ReadonlySet<Ipv4>;
  /** Addresses that nobody answers for: shown, and never removed unasked. */
  readonly orphans: readonly LedgerAddress[];
  /** Present and the agent's, but not written down yet. To be added to the ledger before any rule or address changes. */
  readonly ledgerMissing: readonly LedgerAddress[];
  /** Written down, but neither desired nor, with any prefix length, present any more. To be taken out of the ledger. */
  readonly ledgerStale: readonly LedgerAddress[];
  /** What cannot be done on what was observed, and why. */
  readonly blocked: readonly BlockedAddress[];
}

export interface BlockedAddress {
  readonly object?: ObjectId;
  readonly entry: LedgerAddress;
  readonly code: "interface-missing" | "promote-secondaries-off";
  readonly message: string;
}

/**
 * What makes the EIPs' addresses what the program says.
 *
 * The agent owns the addresses of its ledger. An address that a desired Eip names, or a secondary one that an
 * owned rule names, is adopted into it; both are then kept or removed like any other. A primary address that a
 * rule names and no Eip does is left: a stray rule must not cost the gateway its own address.
 */
export function planAddresses(input: AddressInput): AddressPlan {
  const { program, observed, ledger, ownedByRules, keep } = input;
  const own = ownAddresses({ observed, ledger, ownedByRules, vpcInterface: program.vpcInterface });
  // By IP alone, which is an Eip's identity: making a key for each of 10,000 is what would take the time.
  const desired = new Map<Ipv4, ProgramEip>();
  for (const eip of program.eips) if (!own.has(eip.address)) desired.set(eip.address, eip);
  const isDesired = (entry: LedgerAddress) => isSame(desired.get(entry.address), entry);

  const present = new Set<Ipv4>();
  const written = new Set<string>();
  const going = new Set<ObservedAddress>();
  const orphans: LedgerAddress[] = [];
  const ledgerMissing: LedgerAddress[] = [];
  const blocked: BlockedAddress[] = [];
  for (const address of observed.addresses) {
    const key = ledgerKey(address);
    const isWritten = ledger.addresses.has(key);
    if (isWritten) written.add(key);
    if (isDesired(address)) {
      present.add(address.address);
      if (!isWritten) ledgerMissing.push(entryOf(address));
      continue;
    }
    const isOwn = own.has(address.address);
    const isNamed = ownedByRules.has(address.address) && address.isSecondary && !isOwn;
    if (!isWritten && !isNamed) {
      if (!isOwn && !desired.has(address.address)) orphans.push(entryOf(address));
      continue;
    }
    if (!isWritten) ledgerMissing.push(entryOf(address));
    if (keep.has(address.address)) continue;
    going.add(address);
  }

  const add: AddressStep[] = [];
  const links = new Set(observed.links.map((link) => link.name));
  for (const eip of desired.values()) {
    if (present.has(eip.address)) continue;
    const entry = entryOf(eip);
    if (links.has(eip.interface)) add.push({ kind: "add", entry, object: eip.id });
    else {
      const message = `there is no interface ${eip.interface}`;
      blocked.push({ object: eip.id, entry, code: "interface-missing", message });
    }
  }

  const staying = observed.addresses.filter((address) => !going.has(address));
  // Without promote_secondaries the kernel deletes a primary address together with its subnet's secondaries.
  const secondaries = [...staying.filter((address) => address.isSecondary), ...add.map((step) => step.entry)];
  const remove: AddressStep[] = [];
  for (const address of going) {
    const entry = entryOf(address);
    const isAlone = address.isSecondary || isPromoting(observed, address.interface);
    if (isAlone || !secondaries.some((other) => isOfSameSubnet(other, address))) {
      remove.push({ kind: "remove", entry });
      continue;
    }
    const message = `promote_secondaries is off on ${address.interface}: others would go with it`;
    blocked.push({ entry, code: "promote-secondaries-off", message });
  }

  // While its IP stays with another prefix length, forgetting an entry could make that one the gateway's own.
  const ledgerGone = [...ledger.addresses].filter(([key, entry]) => !written.has(key) && !isDesired(entry));
  const places = new Set(ledgerGone.length === 0 ? [] : staying.map(placeOf));
  const ledgerStale = ledgerGone.map(([, entry]) => entry).filter((entry) => !places.has(placeOf(entry)));
  return { add, remove, own, orphans, ledgerMissing, ledgerStale, blocked };
}

/**
 * The gateway's own addresses. On the VPC's interface and on `lo` these are all that the ledger does not hold;
 * elsewhere it is, per subnet, the first that is neither in the ledger nor named by an owned rule. A narrower
 * subnet inside another counts as part of it, so that a stray /32 beside the gateway's /24 is not taken for its own.
 */
export function ownAddresses(input: {
  readonly observed: ObservedNetwork;
  readonly ledger: Ledger;
  readonly ownedByRules: ReadonlySet<Ipv4>;
  readonly vpcInterface: InterfaceName;
}): ReadonlySet<Ipv4> {
  const { observed, ledger, ownedByRules, vpcInterface } = input;
  const unwritten = observed.addresses.filter((address) => !ledger.addresses.has(ledgerKey(address)));
  const ips = new Set(unwritten.map((address) => address.address));
  /** Of an IP in the ledger, on its interface, another prefix length is not the gateway's own either. */
  const written = new Set<string>();
  for (const entry of ledger.addresses.values()) if (ips.has(entry.address)) written.add(placeOf(entry));
  const own = new Set<Ipv4>();
  const subnets = new Map<InterfaceName, Cidr[]>();
  // A stable sort: within one prefix length the kernel's order stays.
  const widestFirst = unwritten
    .filter((address) => !written.has(placeOf(address)))
    .toSorted((one, other) => one.prefixLength - other.prefixLength);
  for (const address of widestFirst) {
    if (address.interface === vpcInterface || address.interface === "lo") {
      own.add(address.address);
      continue;
    }
    const taken = subnets.get(address.interface) ?? [];
    if (ownedByRules.has(address.address) || taken.some((subnet) => contains(subnet, address.address)))
      continue;
    own.add(address.address);
    subnets.set(address.interface, [...taken, makeCidr(address.address, address.prefixLength)]);
  }
  return own;
}

/** The step for people, in the words of `ip`. */
export function describeAddressStep(step: AddressStep): Change {
  const { interface: name, address, prefixLength } = step.entry;
  return {
    action: step.kind,
    subsystem: "address",
    ...(step.object === undefined ? {} : { object: step.object }),
    text: `ip address ${step.kind === "add" ? "add" : "del"} ${address}/${prefixLength} dev ${name}`,
  };
}

function isPromoting(observed: ObservedNetwork, name: InterfaceName): boolean {
  return observed.sysctls.get(`net.ipv4.conf.${name}.promote_secondaries`) === 1;
}

function isOfSameSubnet(one: LedgerAddress, other: LedgerAddress): boolean {
  return (
    one.interface === other.interface &&
    one.prefixLength === other.prefixLength &&
    contains(makeCidr(one.address, one.prefixLength), other.address)
  );
}

function isSame(one: LedgerAddress | undefined, other: LedgerAddress): boolean {
  return (
    one?.address === other.address &&
    one.interface === other.interface &&
    one.prefixLength === other.prefixLength
  );
}

function entryOf({ interface: name, address, prefixLength }: LedgerAddress): LedgerAddress {
  return { interface: name, address, prefixLength };
}

/** An IP on an interface, whatever its prefix length. */
function placeOf({ interface: name, address }: LedgerAddress): string {
  return `${name} ${address}`;
}
