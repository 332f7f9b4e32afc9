/**
 * Filters that put packets into classes or drop what is too much: u32 and matchall, as far as Kube-OVN's script makes them.
 * `struct tc_u32_sel`, `struct tc_police`, TCA_U32_*, TCA_MATCHALL_* of include/uapi/linux/pkt_cls.h and tc_act/.
 */
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  requirePayload,
} from "../netlink/attributes.ts";
import { actionsIn, selectorBytes, type U32Key, u32KeysIn } from "./filter-parts.ts";
import { readObject } from "./traffic-control.ts";

/** Packets whose address, under the mask, is that one. */
export type AddressMatch = Omit<U32Key, "isMoving">;

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

/** Numbers of attributes by kind of filter. */
const attributes: Readonly<
  Record<string, { classId: number; selector?: number; police?: number; actions: number }>
> = {
  u32: { classId: 1, selector: 5, police: 6, actions: 7 },
  matchall: { classId: 1, actions: 2 },
};
const TCA_POLICE_TBF = 1;
const TCA_POLICE_RATE64 = 8;
/** TC_U32_TERMINAL */
const terminal = 1;

/** Decodes one RTM_NEWTFILTER. `undefined`: it is none that decides about packets, such as a hash table of u32. */
export function decodeLimitFilter(view: DataView, start: number, end: number): LimitFilter | undefined {
  const { info, kind, options } = readObject(view, start, end);
  const priority = info >>> 16;
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
      matches = matchesIn(view, first, last);
    } else if (type === numbers.police) police = readPolice(view, first, last);
    else if (type === numbers.actions) police = policeIn(view, first, last) ?? police;
  }
  return isTerminal ? { kind, priority, matches, classId, police } : undefined;
}

/** Keys of a mask of 0 match anything. */
function matchesIn(view: DataView, start: number, end: number): readonly AddressMatch[] {
  return u32KeysIn(view, start, end)
    .filter(({ mask }) => mask !== 0)
    .map(({ offset, mask, value }) => ({ offset, mask, value }));
}

/** The first action that polices. */
function policeIn(view: DataView, start: number, end: number): LimitFilter["police"] {
  const { options } =
    actionsIn(view, start, end).find(({ kind, options }) => kind === "police" && options) ?? {};
  return options && readPolice(view, ...options);
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
