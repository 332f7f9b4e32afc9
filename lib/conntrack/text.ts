/** A flow as text. */
import type { Flow, Tuple } from "./flow.ts";

const protocolNames: Readonly<Record<number, string>> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  33: "dccp",
  47: "gre",
  132: "sctp",
  136: "udplite",
};

/** `tcp`, `udp` and so on, else the number as text. */
export function protocolName(protocol: number): string {
  return protocolNames[protocol] ?? String(protocol);
}

/** The flow nearly as `conntrack -L` prints it, without state, timers and counters: both tuples, the original first. */
export function renderFlow(flow: Flow): string {
  const { icmp, zone } = flow;
  const echo = icmp === undefined ? "" : ` type=${icmp.type} code=${icmp.code} id=${icmp.id}`;
  const protocol = protocolNames[flow.protocol] ?? `proto=${flow.protocol}`;
  const tuples = `${renderTuple(flow, flow.original)} ${renderTuple(flow, flow.reply)}`;
  return `${protocol}${echo} ${tuples}${zone === 0 ? "" : ` zone=${zone}`}`;
}

/** Identifies the flow by its original direction. An entry and its successor have the same key, whatever their NAT. */
export function flowKey(flow: Flow): string {
  const { protocol, original, icmp, zone } = flow;
  const echo = icmp === undefined ? "" : `${icmp.type}/${icmp.code}/${icmp.id}`;
  return `${protocol} ${renderTuple(flow, original)} ${echo} ${zone}`;
}

function renderTuple(flow: Flow, tuple: Tuple): string {
  const addresses = `src=${tuple.source} dst=${tuple.destination}`;
  if (flow.icmp !== undefined) return addresses;
  return `${addresses} sport=${tuple.sourcePort} dport=${tuple.destinationPort}`;
}
