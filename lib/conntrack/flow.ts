/** A connection-tracking entry, as far as NAT is concerned. */
import type { Ipv4 } from "../model/ipv4.ts";

/** One direction of a flow. For ICMP both ports are 0 and `icmpId` is set. */
export interface Tuple {
  readonly source: Ipv4;
  readonly destination: Ipv4;
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
  /** CTA_ID: tells this flow from a later one with the same tuples. */
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
  originalSource: number;
  originalDestination: number;
  originalSourcePort: number;
  originalDestinationPort: number;
  replySource: number;
  replyDestination: number;
  replySourcePort: number;
  replyDestinationPort: number;
}

export type FlowPredicate = (flow: Readonly<FlowView>) => boolean;
