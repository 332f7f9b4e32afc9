/**
 * Finds flows in the conntrack table and deletes them.
 *
 * A dump of this table is never a snapshot: the kernel walks its buckets while packets arrive, and does not report
 * changes. An entry may be missing or occur twice. Twice is harmless (the second delete finds it gone). A missed entry
 * is found by the next sweep. A truncated dump throws.
 *
 * Deleting an entry ends the translation, not the connection. The next packet creates a new entry by the current rules,
 * for TCP also in mid-stream (nf_conntrack_tcp_loose, default 1): such a packet is NEW, not INVALID. Measured on Linux
 * 6.18: if the rules still translate it the same way, a TCP stream continues undisturbed. If the EIP now leads
 * elsewhere or the gateway itself answers, the client gets a reset. If the EIP is gone, both ends run into timeouts
 * while the pod's packets leave untranslated, as for any pod without a rule. So the order is: first the rules, then
 * find and delete. A flow created untranslated in between is removed by the next sweep once a rule covers it again.
 */

import { release } from "node:os";
import type { Flow } from "../../../lib/conntrack/flow.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { encodeDelete, isEntry } from "../../../lib/netlink/ctnetlink.ts";
import { ConntrackEntry } from "../../../lib/netlink/ctnetlink-entry.ts";
import { counted } from "../../../lib/text/quantities.ts";
import type { ConntrackDriver } from "../drivers.ts";
import { openAheadSocket } from "../netlink/ahead-socket.ts";
import { NETLINK_NETFILTER, type NetlinkConnection, openNetlink } from "../netlink/connection.ts";
import type { NetlinkError } from "../netlink/refusal.ts";
import { filtersDumps } from "./dump-filter.ts";
import { dumpsFor, type FlowDump, isWorthFiltering, unknownIfRefused } from "./flow-dumps.ts";
import { readConntrackStats, readEntryCount } from "./stats.ts";

/** Deletes per batch: 1 ms on the event loop and 1 ms on a thread, which takes 0.1 ms to wake. */
const batchSize = 500;

/** A connection for this driver in the namespace of this process. The caller closes it. */
export function openConntrackNetlink(): NetlinkConnection {
  return openNetlink(NETLINK_NETFILTER, { partSize: batchSize, open: openAheadSocket });
}

export interface ConntrackOptions {
  /** True if filtered dumps of this kernel are reliable. */
  readonly canFilter?: boolean;
  /** The number of entries in this namespace. `undefined` if unknown. If it fails, the whole table is read. */
  readonly count?: (signal: AbortSignal) => Promise<number | undefined>;
}

/** A driver for the flows of the family over a NETLINK_NETFILTER connection. The owner of the connection closes it. */
export function openConntrack(
  netlink: NetlinkConnection,
  family: Family,
  options: ConntrackOptions = {},
): ConntrackDriver {
  const { canFilter = filtersDumps(release()), count = readEntryCount } = options;
  return {
    async find(matches, limit, signal, ends) {
      const entries = await count(signal).catch(unknownIfRefused);
      // All namespaces share one hash table: searching it for nothing takes the kernel 10 ms.
      if (entries === 0) return { flows: [], total: 0 };
      const isFiltered = canFilter && isWorthFiltering(entries);
      const found: Found[] = [];
      for (const dump of dumpsFor(matches, isFiltered ? ends : undefined, family))
        found.push(await find(netlink, dump, new ConntrackEntry(family), limit, signal));
      return {
        flows: found.flatMap(({ flows }) => flows).slice(0, limit),
        total: found.reduce((sum, { total }) => sum + total, 0),
      };
    },
    remove: (flows, signal) => remove(netlink, flows, family, signal),
    readStats: (signal) => readConntrackStats(signal),
  };
}

interface Found {
  readonly flows: readonly Flow[];
  readonly total: number;
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
      `not deleted: ${refused.length} of ${counted(flows.length, "flow")}, first error: ${first.code}: ${first.message}`,
      { details: { code: first.code, refused: refused.length, removed } },
    );
  }
  return { removed };
}
