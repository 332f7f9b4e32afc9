/**
 * Finds flows in the kernel's connection-tracking table and takes them out.
 *
 * A dump of this table is never a snapshot: the kernel walks its buckets while packets go on, and says nothing about
 * what moved meanwhile. An entry may be missing or there twice. Twice does no harm (the second delete finds it gone); what
 * was missed is for the next sweep. A dump that was cut short is another matter: that throws.
 *
 * Deleting an entry ends the translation, not the connection. The next packet makes an entry anew by the rules in force,
 * and TCP's does so in mid-stream too (nf_conntrack_tcp_loose, 1 by default): such a packet counts as NEW, not as INVALID.
 * Seen on Linux 6.18: where the rules still translate it alike, a TCP stream goes on unharmed; where an EIP leads
 * elsewhere now or is answered by the gateway itself, its client gets a reset; where the EIP is gone, both ends run into
 * their time-outs while the pod's packets leave plain, as for any pod without a rule. So the order is: first the rules, then
 * find and remove; and a flow made plain meanwhile goes by the next sweep once a rule covers it again.
 */

import { release } from "node:os";
import { type FlowEnd, hasEndOf } from "../../../lib/conntrack/ends.ts";
import type { Flow, FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { encodeDelete, encodeDump, encodeDumpOf, isEntry } from "../../../lib/netlink/ctnetlink.ts";
import { ConntrackEntry } from "../../../lib/netlink/ctnetlink-entry.ts";
import type { NetlinkMessage } from "../../../lib/netlink/message.ts";
import type { ConntrackDriver } from "../drivers.ts";
import { openAheadSocket } from "../netlink/ahead-socket.ts";
import { NETLINK_NETFILTER, type NetlinkConnection, openNetlink } from "../netlink/connection.ts";
import type { NetlinkError } from "../netlink/refusal.ts";
import { filtersDumps } from "./dump-filter.ts";
import { readEntryCount } from "./stats.ts";

/** Deletes made and sent at a time: 1 ms of the event loop, and another of a thread, which it takes 0.1 ms to wake. */
const batchSize = 500;

/** A connection as the driver needs it, in the namespace of this process. Whoever opens it closes it. */
export function openConntrackNetlink(): NetlinkConnection {
  return openNetlink(NETLINK_NETFILTER, { partSize: batchSize, open: openAheadSocket });
}

export interface ConntrackOptions {
  /** True where the kernel's dumps can be trusted with a filter. */
  readonly canFilter?: boolean;
  /** How many entries this namespace has; `undefined` where that is not told. Where it fails everything is looked at. */
  readonly count?: (signal: AbortSignal) => Promise<number | undefined>;
}

/** A driver of the family's flows over a connection of NETLINK_NETFILTER, whose owner closes it. */
export function openConntrack(
  netlink: NetlinkConnection,
  family: Family,
  options: ConntrackOptions = {},
): ConntrackDriver {
  const { canFilter = filtersDumps(release()), count = readEntryCount } = options;
  return {
    async find(matches, limit, signal, ends) {
      const entries = await count(signal).catch(onlyAHint);
      // All namespaces share one hash table: to look for nothing in it takes the kernel ten milliseconds.
      if (entries === 0) return { flows: [], total: 0 };
      const isFiltered = canFilter && (entries === undefined || entries > fewEntries);
      const found: Found[] = [];
      for (const dump of dumpsFor(matches, isFiltered ? ends : undefined, family))
        found.push(await find(netlink, dump, new ConntrackEntry(family), limit, signal));
      return {
        flows: found.flatMap(({ flows }) => flows).slice(0, limit),
        total: found.reduce((sum, { total }) => sum + total, 0),
      };
    },
    remove: (flows, signal) => remove(netlink, flows, family, signal),
  };
}

interface Found {
  readonly flows: readonly Flow[];
  readonly total: number;
}

interface FlowDump {
  readonly request: NetlinkMessage;
  readonly isWanted: FlowPredicate;
}

/** Beyond that many a dump of everything is hardly dearer: the kernel goes through the whole table for each. */
const maxFiltered = 5;
/** So few are told at once, and sorted out here, before the kernel has gone through its table a second time. */
const fewEntries = 5_000;

function onlyAHint(error: unknown): undefined {
  if (!(error instanceof GatewayError)) throw error;
}

function dumpsFor(
  matches: FlowPredicate,
  ends: readonly FlowEnd[] | undefined,
  family: Family,
): readonly FlowDump[] {
  if (ends === undefined || ends.length > maxFiltered)
    return [{ request: encodeDump(family), isWanted: matches }];
  return ends.map((end, index) => {
    const hasIt = hasEndOf([end], family);
    const isFoundBefore = hasEndOf(ends.slice(0, index), family);
    return {
      request: encodeDumpOf(end, family),
      isWanted: (flow) => hasIt(flow) && !isFoundBefore(flow) && matches(flow),
    };
  });
}

async function find(
  netlink: NetlinkConnection,
  { request, isWanted }: FlowDump,
  entry: ConntrackEntry,
  limit: number,
  signal: AbortSignal,
): Promise<Found> {
  let flows: Flow[] = [];
  let total = 0;
  await netlink.dump(
    request,
    (type, bytes, start, end) => {
      if (!isEntry(type)) return;
      entry.decode(bytes, start, end);
      if (!isWanted(entry.view)) return;
      total++;
      if (flows.length < limit) flows.push(entry.toFlow());
    },
    signal,
    () => {
      flows = [];
      total = 0;
    },
  );
  return { flows, total };
}

async function remove(
  netlink: NetlinkConnection,
  flows: readonly Flow[],
  family: Family,
  signal: AbortSignal,
) {
  let removed = 0;
  const refused: NetlinkError[] = [];
  for (let from = 0; from < flows.length; from += batchSize) {
    const batch = flows.slice(from, from + batchSize).map((flow) => encodeDelete(flow, family));
    for (const error of await netlink.batch(batch, signal)) {
      if (error === undefined) removed++;
      else if (error.code !== "ENOENT") refused.push(error);
    }
  }
  const [first] = refused;
  if (first !== undefined) {
    throw new GatewayError(
      "netlink-failed",
      `${refused.length} of ${flows.length} flows could not be deleted: ${first.code}: ${first.message}`,
      { details: { code: first.code, refused: refused.length, removed } },
    );
  }
  return { removed };
}
