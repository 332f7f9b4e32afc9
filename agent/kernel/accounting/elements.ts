/** Reads the elements of the table that counts the traffic of EIPs. */
import {
  addressSet,
  type CounterSet,
  eipSet,
  type RawCounts,
  type RawTraffic,
} from "../../../lib/nftables/accounting.ts";
import { type ElementVisitor, forEachElementOf } from "../../../lib/nftables/decode-elements.ts";
import { dumpAccounted } from "../../../lib/nftables/encode-accounting.ts";
import { messageType } from "../../../lib/nftables/wire.ts";
import type { NetlinkConnection } from "../netlink/connection.ts";
import { forget } from "../nftables/read.ts";

export async function readEips(
  netlink: NetlinkConnection,
  signal: AbortSignal,
): Promise<ReadonlySet<string>> {
  const eips = new Set<string>();
  await visit(netlink, eipSet, (eip) => eips.add(eip), signal);
  return eips;
}

/** The counters of each EIP that has some. An interrupted dump starts again and visits them twice. */
export async function readRawCounts(
  netlink: NetlinkConnection,
  sets: readonly CounterSet[],
  signal: AbortSignal,
): Promise<RawCounts> {
  const counts = new Map<string, { -readonly [K in CounterSet]?: RawTraffic[K] }>();
  for (const set of sets)
    await visit(
      netlink,
      set,
      (eip, _, { packets, bytes }) => {
        const known = counts.get(eip);
        if (known === undefined) counts.set(eip, { [set]: { packets, bytes } });
        else known[set] = { packets, bytes };
      },
      signal,
    );
  return counts;
}

function visit(
  netlink: NetlinkConnection,
  set: CounterSet | typeof eipSet,
  visitor: ElementVisitor,
  signal: AbortSignal,
): Promise<void> {
  const onMessage = (type: number, view: DataView, start: number, end: number) => {
    if (type === messageType.newElements) forEachElementOf(addressSet, view, start, end, visitor);
  };
  return netlink.dump(dumpAccounted(set), onMessage, signal, forget);
}
