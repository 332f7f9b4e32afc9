/** What the kernel counts of a flow, and when it began and ended: optional parts of a ctnetlink message. */
import { attributeEnd, attributeType, nextAttribute, payloadOf, requirePayload } from "./attributes.ts";
import {
  CTA_COUNTERS_BYTES,
  CTA_COUNTERS_ORIG,
  CTA_COUNTERS_PACKETS,
  CTA_COUNTERS_REPLY,
  CTA_TIMESTAMP,
  CTA_TIMESTAMP_START,
  CTA_TIMESTAMP_STOP,
} from "./ctnetlink-attributes.ts";

export interface Counted {
  readonly packets: number;
  readonly bytes: number;
}

export interface Accounting {
  /** Unix time in ms. `undefined` unless `nf_conntrack_timestamp` was 1 when the flow began. */
  readonly startMs: number | undefined;
  /** Of a flow that ended. */
  readonly stopMs: number | undefined;
  /** By direction. `undefined` unless `nf_conntrack_acct` was 1 when the flow began. */
  readonly original: Counted | undefined;
  readonly reply: Counted | undefined;
}

/** Nothing is known. */
export const noAccounting: Accounting = {
  startMs: undefined,
  stopMs: undefined,
  original: undefined,
  reply: undefined,
};

/** Bytes of `struct nfgenmsg`. */
const familyHeaderLength = 4;

/** Reads the payload of an entry from `from` to `end`. Throws `unreadable` if an attribute is truncated. */
export function readAccounting(bytes: DataView, from: number, end: number): Accounting {
  let startMs: number | undefined;
  let stopMs: number | undefined;
  let original: Counted | undefined;
  let reply: Counted | undefined;
  for (let at = from + familyHeaderLength; at < end; at = nextAttribute(bytes, at, end)) {
    const inner = attributeEnd(bytes, at, end);
    switch (attributeType(bytes, at)) {
      case CTA_COUNTERS_ORIG:
        original = readCounters(bytes, payloadOf(at), inner);
        break;
      case CTA_COUNTERS_REPLY:
        reply = readCounters(bytes, payloadOf(at), inner);
        break;
      case CTA_TIMESTAMP:
        startMs = readMs(bytes, payloadOf(at), inner, CTA_TIMESTAMP_START);
        stopMs = readMs(bytes, payloadOf(at), inner, CTA_TIMESTAMP_STOP);
        break;
    }
  }
  return { startMs, stopMs, original, reply };
}

function readCounters(bytes: DataView, from: number, end: number): Counted {
  return {
    packets: readU64(bytes, from, end, CTA_COUNTERS_PACKETS) ?? 0,
    bytes: readU64(bytes, from, end, CTA_COUNTERS_BYTES) ?? 0,
  };
}

function readMs(bytes: DataView, from: number, end: number, type: number): number | undefined {
  const nanoseconds = readU64(bytes, from, end, type);
  return nanoseconds === undefined ? undefined : Math.floor(nanoseconds / 1e6);
}

/** As a number: exact up to 2^53, and times to less than a microsecond. */
function readU64(bytes: DataView, from: number, end: number, type: number): number | undefined {
  for (let at = from; at < end; at = nextAttribute(bytes, at, end)) {
    if (attributeType(bytes, at) !== type) continue;
    const start = requirePayload(bytes, at, end, 8);
    return bytes.getUint32(start) * 2 ** 32 + bytes.getUint32(start + 4);
  }
  return undefined;
}
