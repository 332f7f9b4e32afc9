/** The destination half: what FIPs and DNATs make of a new flow's destination. */
import { toU32 } from "../model/ipv4.ts";
import type { Program, ProgramDnat } from "../model/program.ts";
import type { Backend, Protocol } from "../model/schema.ts";
import type { FlowPredicate, FlowView } from "./flow.ts";
import { addressKey } from "./prefix-table.ts";
import type { Verdict } from "./verdict.ts";

/** IP protocol numbers of what a DNAT can match. */
export const protocolNumber: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

interface Target {
  readonly address: number;
  readonly port: number;
}

/**
 * Compiles the destinations that a program permits. A FIP keeps the port, a DNAT goes to any of its backends: all
 * of them are permitted, and a backend that was removed is not. ICMP has ports 0, so only its address counts. Beside a FIP
 * a DNAT gets no new flows; those that it made before stay.
 */
export function compileDestinations(program: Program): (flow: Readonly<FlowView>) => Verdict {
  const fips = new Map(
    program.fips.map(({ eip, internalIp }) => [addressKey(toU32(eip)), addressKey(toU32(internalIp))]),
  );
  const dnats = new Map<number, Map<number, readonly Target[]>>();
  for (const dnat of program.dnats) {
    const eip = addressKey(toU32(dnat.eip));
    const services = dnats.get(eip) ?? new Map<number, readonly Target[]>();
    dnats.set(eip, services.set(serviceOf(dnat), dnat.backends.map(targetOf)));
  }

  return (flow) => {
    const eip = addressKey(flow.originalDestination);
    const internalIp = fips.get(eip);
    const isByFip =
      addressKey(flow.replySource) === internalIp && flow.replySourcePort === flow.originalDestinationPort;
    if (isByFip) return "permitted";
    const targets = dnats.get(eip)?.get(serviceKey(flow.protocol, flow.originalDestinationPort));
    if (targets !== undefined && leadsToOne(targets, flow)) return "permitted";
    return internalIp === undefined && targets === undefined ? "unruled" : "contradicted";
  };
}

/** True where the flow's destination was left as it was. */
export const keepsDestination: FlowPredicate = (flow) =>
  flow.replySource === flow.originalDestination && flow.replySourcePort === flow.originalDestinationPort;

function leadsToOne(targets: readonly Target[], flow: Readonly<FlowView>): boolean {
  for (const { address, port } of targets) {
    if (flow.replySource === address && flow.replySourcePort === port) return true;
  }
  return false;
}

function targetOf({ ip, port }: Backend): Target {
  return { address: toU32(ip), port };
}

function serviceOf({ protocol, externalPort }: ProgramDnat): number {
  return serviceKey(protocolNumber[protocol], externalPort);
}

function serviceKey(protocol: number, port: number): number {
  return (protocol << 16) | port;
}
