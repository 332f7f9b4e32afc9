/** The kernel's neighbour table: reads single entries, and makes the kernel resolve them. */
import type { Family } from "../../../lib/model/family.ts";
import { controlType } from "../../../lib/netlink/message.ts";
import {
  decodeNeighbourState,
  encodeGetNeighbour,
  encodeUseNeighbour,
  type NeighbourState,
  newNeighbour,
} from "../../../lib/netlink/rtnetlink-neighbours.ts";
import type { Neighbours } from "../drivers.ts";
import type { ConversingConnection } from "../netlink/connection.ts";

/** @param netlink NETLINK_ROUTE in the namespace to manage; not closed here */
export function createNeighbours(netlink: ConversingConnection, family: Family): Neighbours {
  return {
    async states(hops, signal) {
      const states = hops.map((): NeighbourState => "unknown");
      let left = hops.length;
      if (left === 0) return states;
      await netlink.converse(
        hops.map(({ index, via }) => encodeGetNeighbour(index, via, family)),
        (at, { type }, view, start, end) => {
          // A refusal means that there is no such entry.
          if (type === newNeighbour) states[at] = decodeNeighbourState(view, start, end);
          else if (type !== controlType.error) return false;
          return --left === 0;
        },
        signal,
      );
      return states;
    },
    async ask(hops, signal) {
      await netlink.batch(
        hops.map(({ index, via }) => encodeUseNeighbour(index, via, family)),
        signal,
      );
    },
  };
}
