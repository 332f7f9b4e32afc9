/** Classes of HTB: `struct tc_htb_opt` and TCA_HTB_* of include/uapi/linux/pkt_sched.h. */
import {
  attributeEnd,
  attributeType,
  bytesAttribute,
  nestedAttribute,
  nextAttribute,
  payloadOf,
  requirePayload,
  textAttribute,
} from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import { majorOf, minorOf, ownHandle, ownMajor, rootParent } from "./handles.ts";
import {
  readPlace,
  trafficAttribute,
  trafficHeader,
  trafficMessage,
  trafficType,
} from "./traffic-control.ts";

/** A class of the agent's root qdisc. */
export interface HtbClass {
  readonly minor: number;
  /** The minor number of the parent. 0: the qdisc. */
  readonly parent: number;
  /** What the class may send whatever its parent sends, in bytes a second. */
  readonly rate: number;
  /** What it may send at most, while its parent has some left. */
  readonly ceil: number;
  /** Ticks of 64 ns: how long the class may send at once after a pause, at `rate` and at `ceil`. See {@link ticksOf}. */
  readonly buffer: number;
  readonly ceilBuffer: number;
  /** Its share when several classes compete, in bytes a turn. */
  readonly quantum: number;
}

/** Counted since the class exists. */
export interface ClassStatistics {
  readonly bytes: number;
  readonly dropped: number;
  readonly overlimits: number;
  /** Packets in its queue now. */
  readonly queued: number;
}

export interface DecodedClass {
  readonly class: HtbClass;
  readonly statistics: ClassStatistics;
}

const TCA_HTB_PARMS = 1;
const TCA_HTB_RATE64 = 6;
const TCA_HTB_CEIL64 = 7;
const TCA_STATS_BASIC = 1;
const TCA_STATS_QUEUE = 3;
/** Bytes of `struct tc_htb_opt`. */
const optBytes = 44;
const maxU32 = 0xffffffff;
/** TC_LINKLAYER_ETHERNET: the kernel computes with 64 bits and needs no table. */
const linkLayer = 1;
const tickNs = 64;

/** The time that `bytes` take at `rate` bytes a second, in ticks. At most 274 s: the field has 32 bits. */
export function ticksOf(bytes: number, rate: number): number {
  return Math.min(Math.round((bytes * 1e9) / rate / tickNs), maxU32);
}

/** The inverse of {@link ticksOf}, to the next byte. */
export function bytesOf(ticks: number, rate: number): number {
  return Math.round((ticks * tickNs * rate) / 1e9);
}

/** Requests the classes of a device. */
export function dumpClasses(index: number): NetlinkMessage {
  return trafficMessage(trafficType.getClass, 0, { index, handle: 0, parent: 0 });
}

/** Adds a class. EEXIST if there is one. */
export function encodeAddClass(index: number, wanted: HtbClass): NetlinkMessage {
  return encode(messageFlag.create | messageFlag.exclusive, index, wanted);
}

/** Changes a class in place: it keeps its queue and its packets. Its parent cannot change. */
export function encodeChangeClass(index: number, wanted: HtbClass): NetlinkMessage {
  return encode(0, index, wanted);
}

/** Deletes a class with its queue and the packets in it. EBUSY if it has children. */
export function encodeDeleteClass(index: number, minor: number): NetlinkMessage {
  return trafficMessage(trafficType.deleteClass, 0, { index, handle: ownHandle(minor), parent: 0 });
}

function encode(
  flags: number,
  index: number,
  { minor, parent, rate, ceil, buffer, ceilBuffer, quantum }: HtbClass,
): NetlinkMessage {
  const opt = new Uint8Array(optBytes);
  const view = new DataView(opt.buffer);
  for (const [at, value] of [
    [0, rate],
    [12, ceil],
  ] as const) {
    view.setUint8(at + 1, linkLayer);
    view.setUint32(at + 8, Math.min(value, maxU32), true);
  }
  view.setUint32(24, buffer, true);
  view.setUint32(28, ceilBuffer, true);
  view.setUint32(32, quantum, true);
  return trafficMessage(
    trafficType.newClass,
    flags,
    { index, handle: ownHandle(minor), parent: ownHandle(parent) },
    textAttribute(trafficAttribute.kind, "htb"),
    nestedAttribute(
      trafficAttribute.options,
      bytesAttribute(TCA_HTB_PARMS, opt),
      bytesAttribute(TCA_HTB_RATE64, u64(rate)),
      bytesAttribute(TCA_HTB_CEIL64, u64(ceil)),
    ),
  );
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return bytes;
}

/** Decodes one RTM_NEWTCLASS. `undefined` for a class of another qdisc, such as the flows of an fq_codel. */
export function decodeClass(view: DataView, start: number, end: number): DecodedClass | undefined {
  const { handle, parent } = readPlace(view, start);
  if (majorOf(handle) !== ownMajor) return undefined;
  let [rate, ceil, buffer, ceilBuffer, quantum] = [0, 0, 0, 0, 0];
  let statistics: ClassStatistics = { bytes: 0, dropped: 0, overlimits: 0, queued: 0 };
  for (let at = start + trafficHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    const stop = attributeEnd(view, at, end);
    if (type === trafficAttribute.statistics) statistics = readStatistics(view, payloadOf(at), stop);
    if (type !== trafficAttribute.options) continue;
    for (let inner = payloadOf(at); inner < stop; inner = nextAttribute(view, inner, stop)) {
      const field = attributeType(view, inner);
      if (field === TCA_HTB_RATE64) rate = readU64(view, requirePayload(view, inner, stop, 8));
      else if (field === TCA_HTB_CEIL64) ceil = readU64(view, requirePayload(view, inner, stop, 8));
      else if (field === TCA_HTB_PARMS) {
        const opt = requirePayload(view, inner, stop, optBytes);
        rate ||= view.getUint32(opt + 8, true);
        ceil ||= view.getUint32(opt + 20, true);
        buffer = view.getUint32(opt + 24, true);
        ceilBuffer = view.getUint32(opt + 28, true);
        quantum = view.getUint32(opt + 32, true);
      }
    }
  }
  const above = parent === rootParent ? 0 : minorOf(parent);
  return {
    class: { minor: minorOf(handle), parent: above, rate, ceil, buffer, ceilBuffer, quantum },
    statistics,
  };
}

/** `struct gnet_stats_basic` (64-bit bytes) and `struct gnet_stats_queue` (qlen, backlog, drops, requeues, overlimits). */
export function readStatistics(view: DataView, start: number, end: number): ClassStatistics {
  let [bytes, dropped, overlimits, queued] = [0, 0, 0, 0];
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    if (type === TCA_STATS_BASIC) bytes = readU64(view, requirePayload(view, at, end, 8));
    else if (type === TCA_STATS_QUEUE) {
      const queue = requirePayload(view, at, end, 20);
      queued = view.getUint32(queue, true);
      dropped = view.getUint32(queue + 8, true);
      overlimits = view.getUint32(queue + 16, true);
    }
  }
  return { bytes, dropped, overlimits, queued };
}

function readU64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}
