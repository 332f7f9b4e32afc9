/** The destination half: how FIPs and DNATs translate the destination of a new flow. */
import { type Chunked, everyNth } from "../chunked.ts";
import type { AddressKey, AddressValue } from "../model/family.ts";
import type { Program, ProgramDnat } from "../model/program.ts";
import type { Backend, Protocol } from "../model/schema.ts";
import type { FlowPredicate, FlowView } from "./flow.ts";
import type { FlowVerdict } from "./verdict.ts";

/** IP protocol numbers of the protocols that a DNAT can match. */
export const protocolNumber: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

interface Target {
  readonly address: AddressValue;
  readonly port: number;
}

/**
 * Compiles the permitted destinations of a program. A FIP keeps the port. A DNAT permits each of its current backends;
 * a removed backend is not permitted. ICMP has port 0, so only its address counts. A DNAT beside a FIP gets no new
 * flows, but flows that it made before stay.
 */
export function* compileDestinations(program: Program): Chunked<(flow: Readonly<FlowView>) => FlowVerdict> {
  const { keyOf, toValue } = program.family;
  const targetOf = ({ ip, port }: Backend): Target => ({ address: toValue(ip), port });
  const isDue = everyNth(notedAtOnce);
  const fips = new Map<AddressKey, AddressKey>();
  for (const { eip, internalIp } of program.fips) {
    if (isDue()) yield;
    fips.set(keyOf(toValue(eip)), keyOf(toValue(internalIp)));
  }
  const dnats = new Map<AddressKey, Map<number, readonly Target[]>>();
  let backends = 0;
  for (const dnat of program.dnats) {
    backends += dnat.backends.length;
    if (backends >= notedAtOnce) {
      backends = 0;
      yield;
    }
    const eip = keyOf(toValue(dnat.eip));
    const services = dnats.get(eip) ?? new Map<number, readonly Target[]>();
    dnats.set(eip, services.set(serviceOf(dnat), dnat.backends.map(targetOf)));
  }

  return (flow) => {
    const eip = keyOf(flow.originalDestination);
    const internalIp = fips.get(eip);
    const isByFip =
      keyOf(flow.replySource) === internalIp && flow.replySourcePort === flow.originalDestinationPort;
    if (isByFip) return "permitted";
    const targets = dnats.get(eip)?.get(serviceKey(flow.protocol, flow.originalDestinationPort));
    if (targets !== undefined && leadsToOne(targets, flow)) return "permitted";
    return internalIp === undefined && targets === undefined ? "unruled" : "contradicted";
  };
}

/** Takes a few milliseconds. */
const notedAtOnce = 4_000;

/** True if the flow's destination is not translated. */
export const keepsDestination: FlowPredicate = (flow) =>
  flow.replySource === flow.originalDestination && flow.replySourcePort === flow.originalDestinationPort;

function leadsToOne(targets: readonly Target[], flow: Readonly<FlowView>): boolean {
  for (const { address, port } of targets) {
    if (flow.replySource === address && flow.replySourcePort === port) return true;
  }
  return false;
}

function serviceOf({ protocol, externalPort }: ProgramDnat): number {
  return serviceKey(protocolNumber[protocol], externalPort);
}

function serviceKey(protocol: number, port: number): number {
  return (protocol << 16) | port;
}
