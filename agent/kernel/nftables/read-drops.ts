/** Reads the counters of packets that the agent's own tables dropped. */

import { readCounters } from "../../../lib/nftables/counters.ts";
import type { Counted } from "../../../lib/nftables/definition-messages.ts";
import type { DropCounter, DropCounts } from "../../../lib/nftables/filter-tables.ts";
import { familyNumber, inFamily, messageType, objectAttribute } from "../../../lib/nftables/wire.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { forget, ofTable, orUndefinedWhereGone } from "./read.ts";

/** The counters of these tables. A table that does not exist has none. */
export async function readDropsOf(
  netlink: NetlinkConnection,
  tables: readonly string[],
  signal: AbortSignal,
  family = familyNumber,
): Promise<DropCounts> {
  const counts = new Map<DropCounter, Counted>();
  for (const table of tables) {
    const request = inFamily(ofTable(messageType.getObject, objectAttribute.table, table), family);
    const dump = netlink.dump(
      request,
      (type, view, start, end) => readCounters(type, view, start, end, table, counts, family),
      signal,
      forget,
    );
    await orUndefinedWhereGone(dump);
  }
  return counts;
}
