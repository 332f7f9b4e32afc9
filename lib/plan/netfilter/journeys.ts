/** The paths of each object's packets through the gateway, as far as netfilter can distinguish packets. */
import { type Chunked, everyNth, forEachChunked } from "../../chunked.ts";
import type { Family } from "../../model/family.ts";
import type { Cidr, Ip } from "../../model/ip.ts";
import type { InterfaceName, ObjectId } from "../../model/names.ts";
import type { Program } from "../../model/program.ts";
import type { Hook, Range } from "../../netfilter/chain.ts";
import type { Packets } from "../../netfilter/walk.ts";
import { backendsPriority } from "../../nftables/backends.ts";
import { isInTable } from "../iptables/backends.ts";

/** Packets of one object in one direction. */
export interface Leg {
  readonly isInward: boolean;
  /** True for packets that start a flow. Only these are translated by rules. */
  readonly isFirst: boolean;
  /** True if a packet from outside started the flow. `undefined`: either. */
  readonly isBegunInward: boolean | undefined;
  readonly in: InterfaceName;
  readonly out: InterfaceName;
  /** The address of the VPC side, and its port. */
  readonly internal: Range;
  readonly internalPort: number | undefined;
  /** The EIP, and its port. */
  readonly external: Range;
  readonly externalPort: number | undefined;
  readonly protocol: string | undefined;
  /** The priority of the chain that translates what comes from outside. */
  readonly dstnat: number;
}

/**
 * Calls `visit` with every leg of every object, in parts of `objectsPerPart` objects.
 *
 * @param hasBackendsTable true if DNATs with a list of backends are in a table of their own
 */
export function* forEachLegChunked(
  program: Program,
  hasBackendsTable: boolean,
  objectsPerPart: number,
  visit: (id: ObjectId, leg: Leg) => void,
): Chunked<void> {
  const { vpcInterface: vpc, family } = program;
  const interfaces = new Map<Ip, InterfaceName>();
  yield* forEachChunked(program.eips, eipsPerPart, (eip) => interfaces.set(eip.address, eip.interface));
  const outsideOf = (eip: Ip) => interfaces.get(eip) ?? program.externalInterface;
  const legs = (
    id: ObjectId,
    outside: InterfaceName,
    ends: Omit<Leg, "isInward" | "isFirst" | "isBegunInward" | "in" | "out">,
    begins: { readonly inward: boolean; readonly outward: boolean },
  ) => {
    const isBegunInward = begins.inward && begins.outward ? undefined : begins.inward;
    const later = { ...ends, isFirst: false, isBegunInward };
    const inward = { ...later, isInward: true, in: outside, out: vpc };
    const outward = { ...later, isInward: false, in: vpc, out: outside };
    for (const leg of [inward, outward]) {
      const isBegun = leg.isInward ? begins.inward : begins.outward;
      if (isBegun) visit(id, { ...leg, isFirst: true, isBegunInward: leg.isInward });
      // Answers, and what follows the first packet.
      visit(id, leg);
    }
  };
  const whole = { protocol: undefined, internalPort: undefined, externalPort: undefined, dstnat };
  for (const [at, { id, eip, internalIp, isOutward }] of program.fips.entries()) {
    if (at % objectsPerPart === 0) yield;
    const ends = { ...whole, internal: hostRange(internalIp, family), external: hostRange(eip, family) };
    legs(id, outsideOf(eip), ends, { inward: true, outward: isOutward });
  }
  let backendCount = 0;
  for (const dnat of program.dnats) {
    const { id, eip, protocol, externalPort, backends } = dnat;
    const priority = hasBackendsTable && isInTable(dnat) ? backendsPriority : dstnat;
    for (const { ip, port } of backends) {
      if (backendCount++ % objectsPerPart === 0) yield;
      const ends = {
        protocol,
        internal: hostRange(ip, family),
        internalPort: port,
        external: hostRange(eip, family),
        externalPort,
        dstnat: priority,
      };
      legs(id, outsideOf(eip), ends, { inward: true, outward: false });
    }
  }
  const isDue = everyNth(objectsPerPart);
  for (const { cidr, interface: outside, members } of program.pools) {
    for (const { id, eip } of members) {
      if (isDue()) yield;
      const ends = { ...whole, internal: networkRange(cidr, family), external: hostRange(eip, family) };
      legs(id, outside, ends, { inward: false, outward: true });
    }
  }
}

/** Takes a few milliseconds. */
const eipsPerPart = 5_000;

/** The packets as a chain on that hook sees them. */
export function packetsAt(leg: Leg, { name, priority, isAsReceived }: Hook): Packets {
  const isRouted = name === "forward" || name === "postrouting";
  const isTranslated = leg.isInward
    ? isRouted || name === "egress" || (name === "prerouting" && priority > leg.dstnat)
    : name === "egress" || (name === "postrouting" && priority > srcnat);
  const isExternal = leg.isInward !== (isTranslated && isAsReceived !== true);
  const address = isExternal ? leg.external : leg.internal;
  const port = isExternal ? leg.externalPort : leg.internalPort;
  const portRange: Range | undefined = port === undefined ? undefined : [port, port];
  const status = statusOf(leg, isTranslated);
  return {
    in: leg.in,
    out: isRouted ? leg.out : undefined,
    source: leg.isInward ? undefined : address,
    sourcePort: leg.isInward ? undefined : portRange,
    destination: leg.isInward ? address : undefined,
    destinationPort: leg.isInward ? portRange : undefined,
    protocol: leg.protocol,
    state: leg.isFirst ? "new" : "established",
    ...(status !== undefined && { status }),
  };
}

function statusOf({ isFirst, isBegunInward }: Leg, isTranslated: boolean): string | undefined {
  if (isBegunInward === undefined) return undefined;
  if (isFirst && !isTranslated) return "none";
  return isBegunInward ? "dnat" : "snat";
}

/** Priorities of the chains that translate, including most of the agent's. */
export const dstnat = -100;
export const srcnat = 100;

function hostRange(address: Ip, { toValue }: Family): Range {
  const value = Number(toValue(address));
  return [value, value];
}

function networkRange(cidr: Cidr, { rangeOf }: Family): Range {
  const [first, last] = rangeOf(cidr);
  return [Number(first), Number(last)];
}
