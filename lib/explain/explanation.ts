/** What becomes of a packet, and why: the question and the answer of `GET /v1/explain`. */
import type { Ip } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";

export const explainedProtocols = ["tcp", "udp", "sctp", "icmp"] as const;
export type ExplainedProtocol = (typeof explainedProtocols)[number];

/** A packet, as its sender sends it. */
export interface Question {
  /** `undefined`: any host outside. */
  readonly from: Ip | undefined;
  readonly to: Ip;
  readonly protocol: ExplainedProtocol;
  /** The destination port. */
  readonly port: number | undefined;
  readonly sourcePort: number | undefined;
}

/** Why a packet fares as it does. Stable words; docs/api.md explains them. */
export const explainCodes = [
  "Translated",
  "StaleFlow",
  "GateClosed",
  "NoRoute",
  "NoSnat",
  "EipNotReady",
  "AddressConflict",
  "PortsExhausted",
  "Invalid",
  "ForwardingOff",
  "Quarantined",
  "Standby",
  "Shadowed",
  "ForeignRule",
  "Local",
] as const;
export type ExplainCode = (typeof explainCodes)[number];

/**
 * `delivered`: the packet leaves the gateway towards its destination, and the answer finds its way back. `dropped`: one
 * of the two does not. `local`: the gateway itself gets it. `unknown`: it depends on what could not be checked.
 */
export const verdicts = ["delivered", "dropped", "local", "unknown"] as const;
export type ExplainVerdict = (typeof verdicts)[number];

export interface Outcome {
  readonly verdict: ExplainVerdict;
  readonly code: ExplainCode;
}

/** In the order in which an answer has them. */
export const stages = [
  "flow",
  "address",
  "route",
  "forwarding",
  "foreign",
  "gate",
  "guard",
  "dnat",
  "snat",
  "ports",
  "reverse",
] as const;
export type Stage = (typeof stages)[number];

export const stepResults = ["passes", "stops", "translates", "none", "unknown"] as const;

export interface ExplainStep {
  readonly stage: Stage;
  /** `none`: nothing here concerns the packet. */
  readonly result: (typeof stepResults)[number];
  readonly object?: ObjectId;
  /** In the words of its tool. */
  readonly rule?: string;
  readonly detail: string;
}

/** Addresses and ports of a packet. Absent: any, or drawn at random. */
export interface PacketEnds {
  readonly source?: Ip;
  readonly sourcePort?: number;
  readonly destination?: Ip;
  readonly destinationPort?: number;
}

export interface Explanation {
  readonly verdict: ExplainVerdict;
  readonly code: ExplainCode;
  /** What decides: a flow that exists, or what the kernel has for new ones. */
  readonly basis: "flow" | "rules";
  readonly steps: readonly ExplainStep[];
  /** The packet as it leaves the gateway. `null` if it does not. */
  readonly translated: PacketEnds | null;
  /** The answer as it comes to the gateway. `null` where there is none. */
  readonly reverse: PacketEnds | null;
  /** What this answer does not cover. */
  readonly unchecked: readonly string[];
}
