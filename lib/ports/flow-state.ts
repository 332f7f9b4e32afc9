/** How far a flow is, as far as its port matters. */
import { type FlowView, flowStatus } from "../conntrack/flow.ts";

/**
 * - `established`: TCP in state ESTABLISHED; of other protocols an assured flow, such as a UDP stream
 * - `transitory`: packets went in both directions, but TCP opens or closes, or another protocol is not assured
 * - `closing`: TCP in TIME_WAIT or CLOSE. The kernel gives its port to a new flow when it needs one
 * - `unreplied`: no packet came back yet
 */
export const flowStates = ["established", "transitory", "closing", "unreplied"] as const;
export type FlowState = (typeof flowStates)[number];

/** The groups that flows are counted in, with the numbers of the protocols. Every other protocol is `other`. */
export const countedProtocols = ["tcp", "udp", "sctp", "icmp", "other"] as const;
export type CountedProtocol = (typeof countedProtocols)[number];

/** TCP_CONNTRACK_* of nf_conntrack_tcp.h. */
const tcpEstablished = 3;
const tcpTimeWait = 7;
const tcpClose = 8;

/** The index in {@link flowStates}. @param tcpState TCP_CONNTRACK_*, 0 for other protocols */
export function stateIndexOf({ status, protocol }: Readonly<FlowView>, tcpState: number): number {
  if (isClosingState(tcpState)) return closingIndex;
  if ((status & flowStatus.seenReply) === 0) return 3;
  if (protocol === tcp && tcpState !== 0) return tcpState === tcpEstablished ? 0 : 1;
  return (status & flowStatus.assured) === 0 ? 1 : 0;
}

/** True if the kernel gives the flow's port to a new one when it needs it. */
export function isClosing({ tcpState = 0 }: Readonly<FlowView>): boolean {
  return isClosingState(tcpState);
}

function isClosingState(tcpState: number): boolean {
  return tcpState === tcpTimeWait || tcpState === tcpClose;
}

/** The index of `closing` in {@link flowStates}. */
export const closingIndex = flowStates.indexOf("closing");

/** The index in {@link countedProtocols}. @param icmp ICMP's number in the family of the flow */
export function protocolIndexOf(protocol: number, icmp: number): number {
  switch (protocol) {
    case tcp:
      return 0;
    case udp:
      return 1;
    case sctp:
      return 2;
    default:
      return protocol === icmp ? 3 : 4;
  }
}

/** The first protocols of {@link countedProtocols} have ports, of which SNAT chooses one. */
export const protocolsWithPorts = 3;

const tcp = 6;
const udp = 17;
const sctp = 132;
