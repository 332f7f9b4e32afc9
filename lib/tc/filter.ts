/**
 * Filters of traffic control with their actions: `struct tcmsg` of a filter, TCA_ACT_* of pkt_cls.h, `struct tc_u32_sel`,
 * `struct tc_gact` and `struct tc_mirred`. Other programs install them; the agent has none.
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

/** Where filters see packets, with the parent to ask for: both sides of `clsact`, and the root qdisc. */
export const filterPlaces = { ingress: 0xfffffff2, egress: 0xfffffff3, root: 0 } as const;
export type FilterPlace = keyof typeof filterPlaces;

export interface Filter {
  /** Lower ones come first. */
  readonly preference: number;
  /** The number of the protocol in Ethernet; 3 for all. */
  readonly protocol: number;
  /** `u32`, `matchall`, `bpf`. */
  readonly kind: string;
  /** Of u32, if all its packets are told by words at fixed places of the header. `undefined`: nobody knows its packets. */
  readonly keys: readonly Key[] | undefined;
  /** In order. */
  readonly actions: readonly Action[];
  /** True if packets can leave by it, for the action that the classifier decides: of bpf with direct action. */
  readonly isProgram: boolean;
}

/** The 32 bits at an offset of the network header, or of the header after it, which tc takes to be at 20. */
export interface Key {
  readonly offset: number;
  readonly mask: number;
  readonly value: number;
}

export interface Action {
  /** `gact`, `mirred`. */
  readonly kind: string;
  /** TC_ACT_*: what happens after it. `undefined` if it is not known. */
  readonly verdict: number | undefined;
  /** True if the packet itself goes to another device. */
  readonly isRedirect: boolean;
}

/** TC_ACT_*. */
export const verdicts = { continue: -1, ok: 0, shot: 2, pipe: 3, stolen: 4, queued: 5, trap: 8 } as const;

const actAttribute = { kind: 1, options: 2 } as const;
const TCA_U32_SEL = 5;
const TCA_U32_LINK = 3;
/** Of u32, bpf, matchall and flower. */
const actionsOf: Readonly<Record<string, number>> = {
  u32: 7,
  bpf: 1,
  matchall: 2,
  flower: 3,
  basic: 3,
  fw: 4,
};
const TCA_GACT_PARMS = 2;
const TCA_MIRRED_PARMS = 2;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_FLAG_ACT_DIRECT = 1;
/** TCA_EGRESS_REDIR and TCA_INGRESS_REDIR. */
const redirects: readonly number[] = [1, 3];
/** Bytes of `struct tc_u32_sel` before its keys, and of a key. */
const selectorBytes = 16;
const keyBytes = 16;

/** Requests the filters of one place of a device. The answer is empty where there is no such qdisc. */
export function dumpFilters(index: number, place: FilterPlace): NetlinkMessage {
  return trafficMessage(trafficType.getFilter, 0, { index, handle: 0, parent: filterPlaces[place] });
}

/** Decodes one RTM_NEWTFILTER. `undefined` for what sees no packet: the hash tables of u32. */
export function decodeFilter(view: DataView, start: number, end: number): Filter | undefined {
  const { handle } = readPlace(view, start);
  const info = view.getUint32(start + 16, true);
  let kind = "";
  let options: readonly [start: number, end: number] | undefined;
  for (let at = start + trafficHeader; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    const stop = attributeEnd(view, at, end);
    if (type === trafficAttribute.kind) kind = readText(view, payloadOf(at), stop);
    else if (type === trafficAttribute.options) options = [payloadOf(at), stop];
  }
  // Each preference begins with an answer without a filter.
  if (options === undefined || handle === 0) return undefined;
  const [from, to] = options;
  const found = new Map<number, readonly [start: number, end: number]>();
  for (let at = from; at < to; at = nextAttribute(view, at, to))
    found.set(attributeType(view, at), [payloadOf(at), attributeEnd(view, at, to)]);
  const selector = kind === "u32" ? found.get(TCA_U32_SEL) : undefined;
  if (kind === "u32" && (selector === undefined || found.has(TCA_U32_LINK))) return undefined;
  const actions = found.get(actionsOf[kind] ?? 0);
  const flags = kind === "bpf" ? found.get(TCA_BPF_FLAGS) : undefined;
  return {
    preference: info >>> 16,
    protocol: swap16(info & 0xffff),
    kind,
    keys: kind === "matchall" ? [] : selector && keysIn(view, ...selector, handle),
    actions: actions === undefined ? [] : actionsIn(view, ...actions),
    isProgram: flags !== undefined && (view.getUint32(flags[0], true) & TCA_BPF_FLAG_ACT_DIRECT) !== 0,
  };
}

function keysIn(view: DataView, start: number, end: number, handle: number): readonly Key[] | undefined {
  if (end - start < selectorBytes) return undefined;
  const count = view.getUint8(start + 2);
  // Only a link leads to the other tables.
  if (handle >>> 20 !== rootTable || end - start < selectorBytes + count * keyBytes) return undefined;
  return Array.from({ length: count }, (_, at) => {
    const key = start + selectorBytes + at * keyBytes;
    const hasMovingOffset = view.getInt32(key + 12, true) !== 0;
    return {
      mask: view.getUint32(key),
      value: view.getUint32(key + 4),
      offset: hasMovingOffset ? Number.NaN : view.getInt32(key + 8, true),
    };
  });
}

/** `800:` of tc: the table where packets enter. */
const rootTable = 0x800;

function actionsIn(view: DataView, start: number, end: number): readonly Action[] {
  const actions: (readonly [order: number, action: Action])[] = [];
  for (let at = start; at < end; at = nextAttribute(view, at, end))
    actions.push([attributeType(view, at), actionIn(view, payloadOf(at), attributeEnd(view, at, end))]);
  return actions.toSorted(([one], [other]) => one - other).map(([, action]) => action);
}

function actionIn(view: DataView, start: number, end: number): Action {
  let kind = "";
  let verdict: number | undefined;
  let isRedirect = false;
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const stop = attributeEnd(view, at, end);
    if (attributeType(view, at) === actAttribute.kind) kind = readText(view, payloadOf(at), stop);
    if (attributeType(view, at) !== actAttribute.options) continue;
    for (let inner = payloadOf(at); inner < stop; inner = nextAttribute(view, inner, stop)) {
      const type = attributeType(view, inner);
      // `tc_gen`: index, capabilities, action. The kinds have their own structs behind it.
      if (kind === "gact" && type === TCA_GACT_PARMS)
        verdict = view.getInt32(requirePayload(view, inner, stop, 12) + 8, true);
      if (kind === "mirred" && type === TCA_MIRRED_PARMS) {
        const parameters = requirePayload(view, inner, stop, 24);
        verdict = view.getInt32(parameters + 8, true);
        isRedirect = redirects.includes(view.getInt32(parameters + 20, true));
      }
    }
  }
  return { kind, verdict, isRedirect };
}

/** From the byte order of the network, on a machine of the other one. */
function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
