/**
 * Reads all flows of EIPs from the conntrack table, without a value for each: for counting. The kernel filters the flows
 * if there are few EIPs.
 *
 * Each scan has a socket of its own. It takes seconds with a million entries, and a pass that ends flows must not wait
 * for it.
 */
import { release } from "node:os";
import { endsAt } from "../../../lib/conntrack/ends.ts";
import type { Family } from "../../../lib/model/family.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { isEntry } from "../../../lib/netlink/ctnetlink.ts";
import { ConntrackEntry } from "../../../lib/netlink/ctnetlink-entry.ts";
import { openAheadSocket } from "../netlink/ahead-socket.ts";
import { NETLINK_NETFILTER, type NetlinkConnection, openNetlink } from "../netlink/connection.ts";
import { filtersDumps } from "./dump-filter.ts";
import { dumpsFor, isWorthFiltering, unknownIfRefused } from "./flow-dumps.ts";
import { readEntryCount } from "./stats.ts";

/** Called for each flow, with its message from `start` to `end`. All are valid until the call returns. */
export type FlowVisitor = (entry: ConntrackEntry, payload: DataView, start: number, end: number) => void;

export interface ScanOptions {
  /** True if filtered dumps of this kernel are reliable. */
  readonly canFilter?: boolean;
  readonly count?: (signal: AbortSignal) => Promise<number | undefined>;
  readonly open?: () => NetlinkConnection;
}

/**
 * Visits the flows whose original or reply destination is one of `eips`, and maybe others. A flow is visited once, or twice if
 * it moved within the table during the dump. Throws `netlink-failed` or `unreadable`: then it did not visit all.
 */
export type FlowScan = (eips: readonly Ip[], visit: FlowVisitor, signal: AbortSignal) => Promise<void>;

export function createFlowScan(family: Family, options: ScanOptions = {}): FlowScan {
  const { canFilter = filtersDumps(release()), count = readEntryCount, open = openScanNetlink } = options;
  return async (eips, visit, signal) => {
    const entries = await count(signal).catch(unknownIfRefused);
    if (eips.length === 0 || entries === 0) return;
    const ends = canFilter && eips.length <= maxFilteredEips && isWorthFiltering(entries);
    const entry = new ConntrackEntry(family);
    const netlink = open();
    try {
      for (const { request, isWanted } of dumpsFor(all, ends ? eips.flatMap(endsAt) : undefined, family)) {
        const onMessage = (type: number, bytes: DataView, start: number, end: number) => {
          if (!isEntry(type)) return;
          entry.decode(bytes, start, end);
          if (isWanted(entry.view)) visit(entry, bytes, start, end);
        };
        await netlink.dump(request, onMessage, signal);
      }
    } finally {
      netlink.close();
    }
  };
}

/** Of two EIPs, four filtered dumps cost less than a whole one unless nearly all flows are theirs. */
const maxFilteredEips = 2;
/** A million entries take seconds. */
const dumpTimeoutMs = 60_000;

const all = () => true;

function openScanNetlink(): NetlinkConnection {
  return openNetlink(NETLINK_NETFILTER, { open: openAheadSocket, timeoutMs: dumpTimeoutMs });
}
