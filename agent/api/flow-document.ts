/** The JSON documents for live flows. */
import type { Flow, Tuple } from "../../lib/conntrack/flow.ts";

export interface TupleDocument {
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
}

export interface FlowDocument {
  /** `tcp`, `udp`, `icmp`, `sctp`, else the number. */
  readonly protocol: string;
  readonly original: TupleDocument;
  readonly reply: TupleDocument;
  /** Which addresses the kernel translates, according to its conntrack entry (not to the rules). */
  readonly natStatus: "none" | "snat" | "dnat" | "both";
}

const protocolNames: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 132: "sctp" };

/** IPS_SRC_NAT and IPS_DST_NAT of nf_conntrack_common.h. */
const srcNat = 1 << 4;
const dstNat = 1 << 5;

export function flowDocument(flow: Flow): FlowDocument {
  const isSource = (flow.status & srcNat) !== 0;
  const isDestination = (flow.status & dstNat) !== 0;
  return {
    protocol: protocolNames[flow.protocol] ?? String(flow.protocol),
    original: tupleDocument(flow.original),
    reply: tupleDocument(flow.reply),
    natStatus: isSource && isDestination ? "both" : isSource ? "snat" : isDestination ? "dnat" : "none",
  };
}

function tupleDocument(tuple: Tuple): TupleDocument {
  return {
    src: tuple.source,
    dst: tuple.destination,
    sport: tuple.sourcePort,
    dport: tuple.destinationPort,
  };
}
