/** Sends many packets without blocking the event loop and without overrunning the link's queue. */
import { constants } from "node:os";
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { errnoName } from "../libc.ts";
import type { PacketSocket } from "./packet-socket.ts";

/** Packets between two turns of the event loop: about 2 ms. */
const chunk = 256;
/** How often to wait 1 ms for a full queue before the remaining packets are dropped. */
const maxWaits = 200;

const { EAGAIN, ENOBUFS } = constants.errno;

/**
 * Broadcasts the packets in order. Asks the iterator for each packet only when its turn comes.
 *
 * @param onTurn called after each chunk and at the end: the time to read replies
 * @returns the name of the errno if it gave up, `undefined` if all were sent
 */
export async function broadcastAll(
  socket: PacketSocket,
  packets: Iterable<Uint8Array>,
  signal: AbortSignal,
  onTurn: () => void = () => {},
): Promise<string | undefined> {
  let count = 0;
  for (const packet of packets) {
    let result = socket.broadcast(packet);
    for (let waits = 0; (result === -EAGAIN || result === -ENOBUFS) && waits < maxWaits; waits++) {
      await delay(1, undefined, { signal });
      result = socket.broadcast(packet);
    }
    if (result < 0) return errnoName(-result);
    if (++count % chunk === 0) {
      onTurn();
      await nextTurn(undefined, { signal });
    }
  }
  onTurn();
  return undefined;
}
