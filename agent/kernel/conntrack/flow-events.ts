/**
 * The kernel's events of flows that begin and end, by a multicast socket that is read from time to time, many messages
 * at once. The socket's buffer holds the events of about half a second at 30,000 a second. The kernel counts what it had
 * to drop.
 *
 * NETLINK_BROADCAST_ERROR would make the kernel send the end of a flow again instead. Then flows that ended would fill the
 * table while the agent hangs, until new connections fail: losing records is better.
 */
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Family } from "../../../lib/model/family.ts";
import { conntrackGroups, isEntry, isRemovedEntry } from "../../../lib/netlink/ctnetlink.ts";
import { ConntrackEntry } from "../../../lib/netlink/ctnetlink-entry.ts";
import { forEachMessage } from "../../../lib/netlink/message.ts";
import { close, errnoName, setSocketOption } from "../libc.ts";
import { NETLINK_NETFILTER } from "../netlink/connection.ts";
import { countOverruns, readDrops } from "../netlink/options.ts";
import { ReceiveBatch } from "../netlink/receive-batch.ts";
import { createSocket, join } from "../netlink/socket.ts";

/** `entry` and the payload are valid until the call returns. */
export type FlowEventVisitor = (
  kind: "new" | "removed",
  entry: ConntrackEntry,
  payload: DataView,
  start: number,
  end: number,
) => void;

export interface FlowEventsOptions {
  readonly family: Family;
  /** True to hear of new flows, too. */
  readonly withNew: boolean;
  /** Called several times a second, before the events that wait are visited. */
  readonly beforeEvents: () => Promise<void>;
  readonly onEvent: FlowEventVisitor;
  /** Events that were lost: by the kernel, or because they were not understood. */
  readonly onLost: (reason: "overrun" | "unreadable", count: number) => void;
  /** The socket failed, and with it everything since the last call. */
  readonly onFailure: (error: GatewayError) => void;
  readonly receiveBufferBytes?: number;
}

/** Reads events until the signal. Throws `netlink-failed` if the kernel does not offer them. */
export function openFlowEvents(options: FlowEventsOptions): { run(signal: AbortSignal): Promise<void> } {
  const { family, withNew, onLost } = options;
  const fd = createSocket(NETLINK_NETFILTER);
  // Needs CAP_NET_ADMIN, like all of the agent's work.
  setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, options.receiveBufferBytes ?? receiveBufferBytes);
  countOverruns(fd);
  join(fd, conntrackGroups.removed | (withNew ? conntrackGroups.new : 0));
  const batch = new ReceiveBatch(batchSize, messageBytes);
  const buffer = new Uint8Array(messageBytes);
  const view = new DataView(buffer.buffer);
  const entry = new ConntrackEntry(family);
  let drops = 0;

  const visitAll = () => {
    for (;;) {
      const length = batch.take(buffer);
      if (length === -EAGAIN) return;
      if (length < 0) throw new GatewayError("netlink-failed", `conntrack events: ${errnoName(-length)}`);
      if (length > buffer.length) {
        onLost("unreadable", 1);
        continue;
      }
      try {
        forEachMessage(view, length, ({ type }, _, start, end) => {
          const kind = isEntry(type) ? "new" : isRemovedEntry(type) ? "removed" : undefined;
          if (kind === undefined || end <= start || buffer[start] !== family.number) return;
          entry.decode(view, start, end);
          options.onEvent(kind, entry, view, start, end);
        });
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
        onLost("unreadable", 1);
      }
    }
  };

  /** @returns true if there were events */
  const drain = async (signal: AbortSignal): Promise<boolean> => {
    await options.beforeEvents();
    batch.fillNow(fd);
    visitAll();
    if (batch.isEmpty) return false;
    while (batch.isFull && !signal.aborted) {
      await nextTurn();
      batch.fillNow(fd);
      visitAll();
    }
    return true;
  };

  return {
    async run(signal) {
      try {
        for (let pauseMs = minPauseMs; !signal.aborted; ) {
          const had = await drain(signal);
          const dropped = readDrops(fd);
          // 32 bits that wrap.
          if (dropped !== drops) onLost("overrun", (dropped - drops) >>> 0);
          drops = dropped;
          pauseMs = had ? minPauseMs : Math.min(2 * pauseMs, maxPauseMs);
          await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
        }
        // What came until now.
        await drain(AbortSignal.timeout(lastDrainMs));
      } catch (error) {
        if (!(error instanceof GatewayError)) throw error;
        options.onFailure(error);
      } finally {
        close(fd);
      }
    },
  };
}

/** The kernel doubles it. An event takes about 1.3 KiB of it. */
const receiveBufferBytes = 16 << 20;
/** An event has up to 500 bytes. */
const messageBytes = 4_096;
/** Decoding these takes about a millisecond. */
const batchSize = 128;
const minPauseMs = 20;
const maxPauseMs = 160;
const lastDrainMs = 200;

const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const EAGAIN = 11;
