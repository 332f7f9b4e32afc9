/** A connection-tracking entry, as far as NAT needs it. */
import type { AddressValue, Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";

/** One direction of a flow. Both ports are 0 for ICMP and for protocols without ports. */
export interface Tuple {
  readonly source: Ip;
  readonly destination: Ip;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface Flow {
  /** IP protocol number: 6 tcp, 17 udp, 132 sctp, 1 icmp. */
  readonly protocol: number;
  readonly original: Tuple;
  readonly reply: Tuple;
  /** IPS_* bits of nf_conntrack_common.h. */
  readonly status: number;
  readonly zone: number;
  /**
   * CTA_ID distinguishes this flow from a later one with the same tuples. The kernel hashes the entry's memory address
   * and original tuple, so it repeats only if a later entry gets the same memory.
   */
  readonly id: number;
  /** ICMP only: type, code and id of the original direction. The kernel needs them to identify the entry. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
}

/**
 * The fields that a predicate can use, as numbers, so that a dump of 200,000 entries needs no object per entry. The
 * view is reused between entries: do not keep it.
 */
export interface FlowView {
  protocol: number;
  zone: number;
  status: number;
  originalSource: AddressValue;
  originalDestination: AddressValue;
  originalSourcePort: number;
  originalDestinationPort: number;
  replySource: AddressValue;
  replyDestination: AddressValue;
  replySourcePort: number;
  replyDestinationPort: number;
  /** TCP_CONNTRACK_* of nf_conntrack_tcp.h. Absent or 0: no TCP, or not known. */
  tcpState?: number;
}

export type FlowPredicate = (flow: Readonly<FlowView>) => boolean;

/** The IPS_* bits in use, from include/uapi/linux/netfilter/nf_conntrack_common.h. */
export const flowStatus = {
  /**
   * IPS_EXPECTED: a helper announced the flow, such as an FTP data connection. Its NAT follows its master's NAT, not a
   * rule.
   */
  expected: 1 << 0,
  /** IPS_SEEN_REPLY: packets went in both directions. */
  seenReply: 1 << 1,
  /** IPS_ASSURED: it is not dropped early when the table is full. TCP: established once; UDP: a stream. */
  assured: 1 << 2,
  /** IPS_SRC_NAT and IPS_DST_NAT: the kernel translates this address. */
  sourceNat: 1 << 4,
  destinationNat: 1 << 5,
  /** IPS_DYING: already removed from the table. */
  dying: 1 << 9,
} as const;

/** A flow as predicates see it. Creates a new view, which can be kept. */
export function viewOf(flow: Flow, { toValue }: Family): FlowView {
  const { original, reply } = flow;
  return {
    protocol: flow.protocol,
    zone: flow.zone,
    status: flow.status,
    originalSource: toValue(original.source),
    originalDestination: toValue(original.destination),
    originalSourcePort: original.sourcePort,
    originalDestinationPort: original.destinationPort,
    replySource: toValue(reply.source),
    replyDestination: toValue(reply.destination),
    replySourcePort: reply.sourcePort,
    replyDestinationPort: reply.destinationPort,
  };
}
