/**
 * Filters of traffic control with their actions: what packets they match, and what becomes of those. `struct tc_gact` and
 * `struct tc_mirred` of include/uapi/linux/tc_act/.
 */
import {
  attributeEnd,
  attributeType,
  nextAttribute,
  payloadOf,
  requirePayload,
} from "../netlink/attributes.ts";
import { type ActionParts, actionsIn, selectorBytes, type U32Key, u32KeysIn } from "./filter-parts.ts";
import { readObject, type Span } from "./traffic-control.ts";

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

/** A key of u32. Its offset is NaN where another word of the packet is added to it. */
export type Key = Omit<U32Key, "isMoving">;

export interface Action {
  /** `gact`, `mirred`. */
  readonly kind: string;
  /** TC_ACT_*: what happens after it. `undefined` if it is not known. */
  readonly verdict: number | undefined;
  /** The index of the device that the packet itself goes to. `undefined`: none. */
  readonly redirectsTo: number | undefined;
}

/** TC_ACT_*. */
export const verdicts = { continue: -1, ok: 0, shot: 2, pipe: 3, stolen: 4, queued: 5, trap: 8 } as const;

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

/**
 * Decodes one RTM_NEWTFILTER. `undefined` for what sees no packet by itself: the hash tables of u32, and filters in other
 * chains than 0. What an action leads to, such as one that goes to a chain, is not known.
 */
export function decodeFilter(view: DataView, start: number, end: number): Filter | undefined {
  const { handle, info, kind, options, chain } = readObject(view, start, end);
  // Each preference begins with an answer without a filter.
  if (options === undefined || handle === 0 || chain !== 0) return undefined;
  const [from, to] = options;
  const found = new Map<number, Span>();
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
    actions:
      actions === undefined
        ? []
        : actionsIn(view, ...actions)
            .toSorted((one, other) => one.order - other.order)
            .map((action) => actionOf(view, action)),
    isProgram: flags !== undefined && (view.getUint32(flags[0], true) & TCA_BPF_FLAG_ACT_DIRECT) !== 0,
  };
}

function keysIn(view: DataView, start: number, end: number, handle: number): readonly Key[] | undefined {
  if (end - start < selectorBytes) return undefined;
  const keys = u32KeysIn(view, start, end);
  const count = view.getUint8(start + 2);
  // Only a link leads to the other tables.
  if (handle >>> 20 !== rootTable || keys.length < count) return undefined;
  return keys
    .slice(0, count)
    .map(({ mask, value, offset, isMoving }) => ({ mask, value, offset: isMoving ? Number.NaN : offset }));
}

/** `800:` of tc: the table where packets enter. */
const rootTable = 0x800;

function actionOf(view: DataView, { kind, options: [start, end] = [0, 0] }: ActionParts): Action {
  let verdict: number | undefined;
  let redirectsTo: number | undefined;
  for (let at = start; at < end; at = nextAttribute(view, at, end)) {
    const type = attributeType(view, at);
    // `tc_gen`: index, capabilities, action. The kinds have their own structs behind it.
    if (kind === "gact" && type === TCA_GACT_PARMS)
      verdict = view.getInt32(requirePayload(view, at, end, 12) + 8, true);
    if (kind === "mirred" && type === TCA_MIRRED_PARMS) {
      const parameters = requirePayload(view, at, end, 28);
      verdict = view.getInt32(parameters + 8, true);
      if (redirects.includes(view.getInt32(parameters + 20, true)))
        redirectsTo = view.getUint32(parameters + 24, true);
    }
  }
  return { kind, verdict, redirectsTo };
}

/** From the byte order of the network, on a machine of the other one. */
function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
