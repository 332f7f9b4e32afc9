/** The kernel's neighbour table: reads single entries, and makes the kernel resolve them. */
import { type Mac, parseMac } from "../../../lib/arp/packet.ts";
import type { Family } from "../../../lib/model/family.ts";
import type { ObservedLink } from "../../../lib/model/observed.ts";
import { controlType } from "../../../lib/netlink/message.ts";
import {
  decodeNeighbourState,
  decodePermanent,
  dumpNeighbours,
  encodeGetNeighbour,
  encodeUseNeighbour,
  type NeighbourState,
  newNeighbour,
} from "../../../lib/netlink/rtnetlink-neighbours.ts";
import type { NextHop } from "../../../lib/plan/reach/next-hops.ts";
import { openArpSocket } from "../announcer/packet-socket.ts";
import { probeLink } from "../announcer/probe.ts";
import type { Neighbours } from "../drivers.ts";
import type { ConversingConnection } from "../netlink/connection.ts";
import { readDump } from "../netlink/read-dump.ts";

/** How long a host has for its answer to a probe. */
const answerMs = 200;

/**
 * @param netlink NETLINK_ROUTE in the namespace to manage; not closed here
 * @param links as last observed
 */
export function createNeighbours(
  netlink: ConversingConnection,
  family: Family,
  links: () => readonly ObservedLink[],
): Neighbours {
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
    async permanent(on, signal) {
      const names = new Map(on.map(({ index, name }) => [index, name]));
      const decode = (view: DataView, start: number, end: number) =>
        decodePermanent(view, start, end, family);
      const found = await readDump(netlink, dumpNeighbours(family), newNeighbour, decode, signal);
      return found.flatMap((one): readonly NextHop[] => {
        const name = one && names.get(one.index);
        return one === undefined || name === undefined
          ? []
          : [{ via: one.address, interface: name, index: one.index }];
      });
    },
    async ask(hops, signal) {
      await netlink.batch(
        hops.map(({ index, via }) => encodeUseNeighbour(index, via, family)),
        signal,
      );
    },
    async answerOf({ index, via }, signal) {
      const mac = parseMac(links().find((link) => link.index === index)?.mac ?? "");
      if (mac === undefined) return undefined;
      const request = {
        mac,
        addresses: [via],
        purpose: "keep" as const,
        isWanted: () => true,
        isOwn: (other: Mac) => other === mac,
        windowMs: answerMs,
      };
      const { others } = await probeLink(openArpSocket(index, "receive"), request, signal);
      return others.get(via);
    },
  };
}
