/** A connection-tracking entry, as far as NAT is concerned. */
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
   * CTA_ID: tells this flow from a later one with the same tuples, unless that took the very memory of the first: the kernel
   * makes it by hashing the entry's address and original tuple.
   */
  readonly id: number;
  /** ICMP only: type, code and id of the original direction, which name the entry to the kernel. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
}

/**
 * The fields that a predicate may look at, as numbers, so that a dump of 200,000 entries is matched without
 * making an object for each: the view is reused between entries and must not be kept.
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
}

export type FlowPredicate = (flow: Readonly<FlowView>) => boolean;

/** IPS_* of include/uapi/linux/netfilter/nf_conntrack_common.h, as far as anything here asks. */
export const flowStatus = {
  /** IPS_EXPECTED: a helper announced it, such as an FTP data connection; its NAT follows its master's, not a rule. */
  expected: 1 << 0,
  /** IPS_DYING: out of the table already. */
  dying: 1 << 9,
} as const;

/** A flow as predicates see it: a fresh view, which may be kept. */
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
