/**
 * The records of the NAT flow log: one JSON object a line, with the events of RFC 8158 (table 2 there, "NAT Event ID") by
 * name and number.
 */
import type { FlowView } from "../conntrack/flow.ts";
import { protocolName } from "../conntrack/text.ts";
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { ObjectId } from "../model/names.ts";
import type { Accounting, Counted } from "../netlink/ctnetlink-accounting.ts";
import { isTranslated, type ObjectOf } from "./translation.ts";

/** The events of RFC 8158 that are logged, with their numbers. */
export const natEvents = {
  "NAT44 session create": 4,
  "NAT44 session delete": 5,
  "NAT ports exhausted": 12,
  "Threshold Reached": 18,
} as const;
export type NatEvent = keyof typeof natEvents;

export interface TupleRecord {
  readonly src: Ip;
  readonly dst: Ip;
  readonly sport: number;
  readonly dport: number;
}

/** One end of a flow's translation: the EIP's port, and the object that gives it. */
export interface EipRecord {
  readonly eip: Ip;
  readonly eipPort: number;
  readonly object?: ObjectId;
}

export interface SessionRecord {
  /** When it was logged. ISO 8601, like all times. */
  readonly time: string;
  readonly event: NatEvent;
  readonly natEvent: number;
  readonly protocol: string;
  readonly original: TupleRecord;
  readonly reply: TupleRecord;
  /** The translated source. */
  readonly source?: EipRecord;
  /** The translated destination. */
  readonly destination?: EipRecord;
  /** Absent if the kernel did not note it (`nf_conntrack_timestamp`). */
  readonly start?: string;
  /** Of a flow that ended. */
  readonly end?: string;
  /** Absent if the kernel did not count (`nf_conntrack_acct`). */
  readonly packets?: { readonly original: number; readonly reply: number };
  readonly bytes?: { readonly original: number; readonly reply: number };
}

/** Ports of an EIP run out. */
export interface PortsRecord {
  readonly time: string;
  readonly event: "NAT ports exhausted" | "Threshold Reached";
  readonly natEvent: number;
  readonly protocol: string;
  readonly eip: Ip;
  readonly object: ObjectId;
  readonly destination: { readonly dst: Ip; readonly dport: number };
  readonly ports: { readonly live: number; readonly capacity: number };
}

/** The log is incomplete between `since` and `time`. */
export interface GapRecord {
  readonly time: string;
  readonly event: typeof gapEvent;
  readonly reason: GapReason;
  /** Absent if nobody knows. */
  readonly since?: string;
  /** Absent if nobody knows. */
  readonly records?: number;
}

export const gapEvent = "log gap";

/**
 * - `overrun`: the kernel dropped events because they were not read in time
 * - `backlog`: records were dropped because they could not be written in time
 * - `write`: they could not be written
 * - `unreadable`: an event was not understood
 * - `stopped`: the agent did not run, or did not log
 */
export const gapReasons = ["overrun", "backlog", "write", "unreadable", "stopped"] as const;
export type GapReason = (typeof gapReasons)[number];

/** The record of a session. @param end when it ended, if it did: the kernel's own time goes before */
export function sessionRecord(
  flow: Readonly<FlowView>,
  event: "NAT44 session create" | "NAT44 session delete",
  accounting: Accounting,
  nowMs: number,
  family: Family,
  objectOf: ObjectOf,
): SessionRecord {
  const { format } = family;
  const [from, to] = [format(flow.originalSource), format(flow.originalDestination)];
  const [replyFrom, replyTo] = [format(flow.replySource), format(flow.replyDestination)];
  const { startMs, stopMs, original, reply } = accounting;
  const isEnd = event === "NAT44 session delete";
  return {
    time: isoTime(nowMs),
    event,
    natEvent: natEvents[event],
    protocol: protocolName(flow.protocol),
    original: { src: from, dst: to, sport: flow.originalSourcePort, dport: flow.originalDestinationPort },
    reply: { src: replyFrom, dst: replyTo, sport: flow.replySourcePort, dport: flow.replyDestinationPort },
    ...(isTranslated(flow, "source") && {
      source: eipRecord(replyTo, flow.replyDestinationPort, objectOf(flow, "source")),
    }),
    ...(isTranslated(flow, "destination") && {
      destination: eipRecord(to, flow.originalDestinationPort, objectOf(flow, "destination")),
    }),
    ...(startMs !== undefined && { start: isoTime(startMs) }),
    ...(isEnd && { end: isoTime(stopMs ?? nowMs) }),
    ...(isEnd && counts(original, reply)),
  };
}

function eipRecord(eip: Ip, eipPort: number, object: ObjectId | undefined): EipRecord {
  return { eip, eipPort, ...(object !== undefined && { object }) };
}

function counts(original: Counted | undefined, reply: Counted | undefined) {
  if (original === undefined || reply === undefined) return {};
  return {
    packets: { original: original.packets, reply: reply.packets },
    bytes: { original: original.bytes, reply: reply.bytes },
  };
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/** A record as a line of the log. */
export function encodeRecord(record: SessionRecord | PortsRecord | GapRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** What every line about this port of an EIP contains: a search looks for it before it parses. */
export function markOf(eip: Ip, eipPort: number): string {
  return `"eip":"${eip}","eipPort":${eipPort}`;
}

/** What every line about a gap contains. */
export const gapMark = `"event":"${gapEvent}"`;
