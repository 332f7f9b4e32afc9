/**
 * Queueing disciplines: the HTB root of a device, the queues of its classes, and those that drop all or many packets.
 * `struct tc_htb_glob`, `tc_fifo_qopt`, `tc_tbf_qopt` and `tc_netem_qopt` of include/uapi/linux/pkt_sched.h.
 */
import {
  attributeType,
  bytesAttribute,
  nestedAttribute,
  nextAttribute,
  requirePayload,
  textAttribute,
  u32Attribute,
} from "../netlink/attributes.ts";
import { messageFlag, type NetlinkMessage } from "../netlink/message.ts";
import { ingressParent, ownHandle, rootParent } from "./handles.ts";
import { bytesOf, readStatistics } from "./htb-class.ts";
import {
  type Place,
  readObject,
  type Span,
  trafficAttribute,
  trafficMessage,
  trafficType,
} from "./traffic-control.ts";

/** What the agent needs to know of a qdisc. */
export interface Qdisc extends Place {
  /** `htb`, `bfifo`. */
  readonly kind: string;
  /** Of htb: the divisor for quanta that are not given (r2q). */
  readonly quantumDivisor?: number;
  /** Of htb: the minor number of the class for packets without one. 0: they are not shaped. */
  readonly defaultClass?: number;
  /** Of bfifo: the size of the queue in bytes. */
  readonly limitBytes?: number;
  /** Packets that it has dropped. */
  readonly dropped?: number;
  /** Set if it drops every packet: what it is, in the words of tc. */
  readonly dropsAll?: string;
  /** Set if it drops packets of usual sizes, or lets hardly any pass: what it is. */
  readonly dropsMany?: string;
}

const TCA_HTB_INIT = 2;
/** TC_HTB_PROTOVER >> 16 */
const htbVersion = 3;

/** Requests the qdiscs of all devices. */
export function dumpQdiscs(): NetlinkMessage {
  return trafficMessage(trafficType.getQdisc, 0, { index: 0, handle: 0, parent: 0 });
}

/** Decodes one RTM_NEWQDISC. */
export function decodeQdisc(view: DataView, start: number, end: number): Qdisc {
  const { index, handle, parent, kind, options, statistics } = readObject(view, start, end);
  const counted = statistics && { dropped: readStatistics(view, ...statistics).dropped };
  const qdisc = { index, handle, parent, kind, ...counted, ...dropsOf(kind, view, options) };
  if (options === undefined) return qdisc;
  const [from, to] = options;
  if (kind === "bfifo" && to - from >= 4) return { ...qdisc, limitBytes: view.getUint32(from, true) };
  if (kind !== "htb") return qdisc;
  for (let at = from; at < to; at = nextAttribute(view, at, to)) {
    if (attributeType(view, at) !== TCA_HTB_INIT) continue;
    const init = requirePayload(view, at, to, 12);
    const quantumDivisor = view.getUint32(init + 4, true);
    return { ...qdisc, quantumDivisor, defaultClass: view.getUint32(init + 8, true) };
  }
  return qdisc;
}

type Drops = Pick<Qdisc, "dropsAll" | "dropsMany">;

/** FIFOs whose limit is a number of packets. */
const fifos: ReadonlySet<string> = new Set(["pfifo", "pfifo_head_drop"]);
/** Where `struct tc_netem_qopt` has the probability that a packet is lost. */
const netemLoss = 8;
const always = 0xffffffff;

/** Frames of Ethernet: the smallest with a port in it, and the largest of the usual MTU. */
const [smallestFrame, usualFrame] = [42, 1_514];
/** Less than one usual frame in a second. */
const slowBytesPerSecond = 1_000;
const TCA_TBF_PARMS = 1;

function dropsOf(kind: string, view: DataView, options: Span | undefined): Drops {
  if (kind === "blackhole") return { dropsAll: kind };
  const [from, to] = options ?? [0, 0];
  const isZero = (at: number) => to - from >= at + 4 && view.getUint32(from + at, true) === 0;
  if (kind === "bfifo" && to - from >= 4) {
    const limit = view.getUint32(from, true);
    return dropsAbove(limit, `bfifo limit ${limit}`);
  }
  if (fifos.has(kind)) return isZero(0) ? { dropsAll: `${kind} limit 0` } : {};
  if (kind === "tbf") return tokenBucketDrops(view, from, to);
  if (kind !== "netem") return {};
  if (isZero(4)) return { dropsAll: "netem limit 0" };
  const isLost = to - from >= netemLoss + 4 && view.getUint32(from + netemLoss, true) === always;
  return isLost ? { dropsAll: "netem loss 100%" } : {};
}

/** Frames of more than `bytes` are dropped. */
function dropsAbove(bytes: number, text: string): Drops {
  if (bytes < smallestFrame) return { dropsAll: text };
  return bytes < usualFrame ? { dropsMany: text } : {};
}

/** The rate, and the burst, which no frame may exceed. */
function tokenBucketDrops(view: DataView, start: number, end: number): Drops {
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    if (attributeType(view, at) !== TCA_TBF_PARMS) continue;
    const parameters = requirePayload(view, at, end, 36);
    const rate = view.getUint32(parameters + 8, true);
    const burst = bytesOf(view.getUint32(parameters + 28, true), rate);
    const text = `tbf rate ${rate * 8}bit burst ${burst}b`;
    const drops = dropsAbove(burst, text);
    return drops.dropsAll === undefined && rate < slowBytesPerSecond ? { dropsMany: text } : drops;
  }
  return {};
}

/** Installs the agent's root qdisc in place of the kernel's own. EEXIST if another program installed one. */
export function encodeAddRoot(index: number, quantumDivisor: number): NetlinkMessage {
  const init = new Uint8Array(20);
  const view = new DataView(init.buffer);
  view.setUint32(0, htbVersion, true);
  view.setUint32(4, quantumDivisor, true);
  return trafficMessage(
    trafficType.newQdisc,
    messageFlag.create | messageFlag.exclusive,
    { index, handle: ownHandle(0), parent: rootParent },
    textAttribute(trafficAttribute.kind, "htb"),
    nestedAttribute(trafficAttribute.options, bytesAttribute(TCA_HTB_INIT, init)),
  );
}

/** Deletes a device's root or ingress qdisc with all that is below it. ENOENT if it has none of its own. */
export function encodeDeleteQdisc(index: number, which: "root" | "ingress"): NetlinkMessage {
  const parent = which === "root" ? rootParent : ingressParent;
  return trafficMessage(trafficType.deleteQdisc, 0, { index, handle: 0, parent });
}

/** A queue of a class. With the same kind the queue is changed in place and keeps its packets. */
export interface Queue {
  readonly kind: "fq_codel" | "bfifo";
  /** For bfifo. */
  readonly limitBytes: number;
}

/** Gives the class `minor` a queue, whatever it had. ENOENT if the kernel has no such kind. */
export function encodeSetQueue(index: number, minor: number, { kind, limitBytes }: Queue): NetlinkMessage {
  return trafficMessage(
    trafficType.newQdisc,
    messageFlag.create | messageFlag.replace,
    { index, handle: 0, parent: ownHandle(minor) },
    textAttribute(trafficAttribute.kind, kind),
    ...(kind === "bfifo" ? [u32Attribute(trafficAttribute.options, limitBytes)] : []),
  );
}
