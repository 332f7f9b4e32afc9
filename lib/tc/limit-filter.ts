/**
 * Filters that put packets into classes or drop what is too much: u32 and matchall, as far as Kube-OVN's script makes them.
 * `struct tc_u32_sel`, `struct tc_police`, TCA_U32_*, TCA_MATCHALL_* of include/uapi/linux/pkt_cls.h and tc_act/.
 */
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  readText,
  requirePayload,
} from "../netlink/attributes.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import {
  readPlace,
  trafficAttribute,
  trafficHeader,
  trafficMessage,
  trafficType,
} from "./traffic-control.ts";

/** Packets whose address, under the mask, is that one: as bytes. Both are in network byte order. */
export interface AddressMatch {
  /** Bytes from the beginning of the IP header. */
  readonly offset: number;
  readonly mask: number;
  readonly value: number;
}

export interface LimitFilter {
  /** `u32`, `matchall`. */
  readonly kind: string;
  /** Lower values are asked first. */
  readonly priority: number;
  /** What packets must match: all of it. Empty: all packets. */
  readonly matches: readonly AddressMatch[];
  /** The class that they get. 0: none. */
  readonly classId: number;
  /** Bytes a second, and the burst in ticks: what is more is dropped. */
  readonly police: { readonly rate: number; readonly burst: number } | undefined;
}

/** The handle of an ingress qdisc. */
export const ingressHandle = 0xffff0000;

/** Numbers of attributes by kind of filter. */
const attributes: Readonly<
  Record<string, { classId: number; selector?: number; police?: number; actions: number }>
> = {
  u32: { classId: 1, selector: 5, police: 6, actions: 7 },
  matchall: { classId: 1, actions: 2 },
};
const TCA_ACT_KIND = 1;
const TCA_ACT_OPTIONS = 2;
const TCA_POLICE_TBF = 1;
const TCA_POLICE_RATE64 = 8;
/** Bytes of `struct tc_u32_sel` and of each of its keys. */
const selectorBytes = 16;
const keyBytes = 16;
/** TC_U32_TERMINAL */
const terminal = 1;

/** Requests the filters of a qdisc. */
export function dumpFiltersBelow(index: number, parent: number): NetlinkMessage {
  return trafficMessage(trafficType.getFilter, 0, { index, handle: 0, parent });
}

/** Decodes one RTM_NEWTFILTER. `undefined`: it is none that decides about packets, such as a hash table of u32. */
export function decodeLimitFilter(view: DataView, start: number, end: number): LimitFilter | undefined {
  readPlace(view, start);
  const priority = view.getUint32(start + 16, true) >>> 16;
  let kind = "";
  let options: readonly [number, number] | undefined;
  for (let at = start + trafficHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    const place = [payloadOf(at), attributeEnd(view, at, end)] as const;
    if (type === trafficAttribute.kind) kind = readText(view, ...place);
    else if (type === trafficAttribute.options) options = place;
  }
  const numbers = attributes[kind];
  if (options === undefined) return undefined;
  const filter = { kind, priority, matches: [] as readonly AddressMatch[], classId: 0, police: undefined };
  if (numbers === undefined) return filter;
  let { matches, classId }: Pick<LimitFilter, "matches" | "classId"> = filter;
  let police: LimitFilter["police"];
  let isTerminal = numbers.selector === undefined;
  const [from, to] = options;
  for (let at = from; at < to; at = nextAttribute(view, at, to)) {
    const type = attributeType(view, at);
    const [first, last] = [payloadOf(at), attributeEnd(view, at, to)];
    if (type === numbers.classId) classId = view.getUint32(requirePayload(view, at, to, 4), true);
    else if (type === numbers.selector) {
      requirePayload(view, at, to, selectorBytes);
      isTerminal = (view.getUint8(first) & terminal) !== 0;
      matches = readKeys(view, first, last);
    } else if (type === numbers.police) police = readPolice(view, first, last);
    else if (type === numbers.actions) police = readActions(view, first, last) ?? police;
  }
  return isTerminal ? { kind, priority, matches, classId, police } : undefined;
}

/** Keys of a mask of 0 match anything. */
function readKeys(view: DataView, start: number, end: number): readonly AddressMatch[] {
  const keys: AddressMatch[] = [];
  for (let at = start + selectorBytes; at + keyBytes <= end; at += keyBytes) {
    const [mask, value, offset] = [view.getUint32(at), view.getUint32(at + 4), view.getInt32(at + 8, true)];
    if (mask !== 0) keys.push({ offset, mask, value });
  }
  return keys;
}

/** The first action that polices. */
function readActions(view: DataView, start: number, end: number): LimitFilter["police"] {
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const stop = attributeEnd(view, at, end);
    let kind = "";
    let options: readonly [number, number] | undefined;
    for (let part = payloadOf(at); part < stop; part = nextAttribute(view, part, stop)) {
      const type = attributeType(view, part);
      const place = [payloadOf(part), attributeEnd(view, part, stop)] as const;
      if (type === TCA_ACT_KIND) kind = readText(view, ...place);
      else if (type === TCA_ACT_OPTIONS) options = place;
    }
    if (kind === "police" && options !== undefined) return readPolice(view, ...options);
  }
  return undefined;
}

/** `struct tc_police`: index, action, limit, burst, mtu, and the rate as `struct tc_ratespec`. */
function readPolice(view: DataView, start: number, end: number): LimitFilter["police"] {
  let police: LimitFilter["police"];
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    if (type === TCA_POLICE_TBF) {
      const from = requirePayload(view, at, end, 32);
      police = {
        rate: police?.rate || view.getUint32(from + 28, true),
        burst: view.getUint32(from + 12, true),
      };
    } else if (type === TCA_POLICE_RATE64) {
      const rate = Number(view.getBigUint64(requirePayload(view, at, end, 8), true));
      police = { rate, burst: police?.burst ?? 0 };
    }
  }
  return police;
}
