/** The counters of conntrack for each CPU: IPCTNL_MSG_CT_GET_STATS_CPU and `enum ctattr_stats_cpu`. */
import type { Family } from "../model/family.ts";
import { attributeType, nextAttribute, requirePayload } from "./attributes.ts";
import type { NetlinkMessage } from "./message.ts";

/** IPCTNL_MSG_CT_GET_STATS_CPU of NFNL_SUBSYS_CTNETLINK: the type of the request and of its answers. */
export const conntrackStatistics = (1 << 8) | 4;

/** CTA_STATS_*. */
const numbers = {
  found: 2,
  invalid: 4,
  insertFailed: 9,
  drop: 10,
  earlyDrop: 11,
  clashResolve: 14,
  chainTooLong: 15,
} as const;
export type ConntrackCounter = keyof typeof numbers;
export const conntrackCounters = Object.keys(numbers) as readonly ConntrackCounter[];

/** Each has 32 bits and wraps around. A counter that this kernel does not have is 0. */
export type ConntrackCounts = { readonly [K in ConntrackCounter]: number };

export function noCounts(): { [K in ConntrackCounter]: number } {
  return { found: 0, invalid: 0, insertFailed: 0, drop: 0, earlyDrop: 0, clashResolve: 0, chainTooLong: 0 };
}

/** Requests the counters of this namespace. The sender adds NLM_F_DUMP. */
export function dumpConntrackStatistics({ netfilterHeader }: Family): NetlinkMessage {
  return { type: conntrackStatistics, flags: 0, payload: netfilterHeader };
}

/** `struct nfgenmsg`. */
const headerBytes = 4;

/** The CPU is in the header, as the resource. */
export function decodeConntrackStatistics(
  view: DataView,
  start: number,
  end: number,
): { readonly cpu: number; readonly counts: ConntrackCounts } {
  const counts = noCounts();
  for (let at = start + headerBytes; at < end; at = nextAttribute(view, at, end))
    for (const counter of conntrackCounters)
      if (attributeType(view, at) === numbers[counter])
        counts[counter] = view.getUint32(requirePayload(view, at, end, 4));
  return { cpu: view.getUint16(start + 2), counts };
}
