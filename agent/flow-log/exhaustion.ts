/** Records of ports that run out: once when a destination passes a threshold, and again after it was below. */
import { natEvents, type PortsRecord } from "../../lib/flow-log/records.ts";
import type { Family } from "../../lib/model/family.ts";
import { objectId, parseObjectName } from "../../lib/model/names.ts";
import { exhaustedShare, fullShare, portCapacity } from "../../lib/ports/capacity.ts";
import type { Census } from "../../lib/ports/census.ts";
import { countedProtocols } from "../../lib/ports/flow-state.ts";

const thresholds = [
  { event: "Threshold Reached", ports: fullShare * portCapacity },
  { event: "NAT ports exhausted", ports: exhaustedShare * portCapacity },
] as const satisfies readonly { event: PortsRecord["event"]; ports: number }[];

export class Exhaustion {
  /** What is above a threshold since an earlier scan. At most as many as a census has destinations. */
  #above = new Set<string>();

  /** The records that are new in this census. */
  recordsOf(census: Census, time: string, { format, keyOf }: Family): readonly PortsRecord[] {
    const above = new Set<string>();
    const records: PortsRecord[] = [];
    for (const [key, { name, address }] of census.counted()) {
      const eipName = parseObjectName(name);
      if (eipName === undefined) continue;
      for (const { address: dst, port, protocolIndex, live } of census.destinations.of(key)) {
        const protocol = countedProtocols[protocolIndex] ?? "other";
        for (const { event, ports } of thresholds) {
          if (live < ports) continue;
          const what = `${event} ${key} ${protocol} ${keyOf(dst)} ${port}`;
          above.add(what);
          if (this.#above.has(what)) continue;
          records.push({
            time,
            event,
            natEvent: natEvents[event],
            protocol,
            eip: address,
            object: objectId("eip", eipName),
            destination: { dst: format(dst), dport: port },
            ports: { live, capacity: portCapacity },
          });
        }
      }
    }
    this.#above = above;
    return records;
  }
}
