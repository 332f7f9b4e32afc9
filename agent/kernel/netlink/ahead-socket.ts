/**
 * A netlink socket that calls libc directly and receives ahead: while one batch of messages is processed, a thread
 * receives the next.
 *
 * The kernel builds a dump inside the receiving call, at 2 µs per entry. On the event loop this would block everything
 * else; on a thread it runs in parallel. A batch has many messages, otherwise waking the thread would cost more than it
 * saves.
 */
import { setTimeout as delay } from "node:timers/promises";
import { close, sendto } from "../libc.ts";
import { messageBytes } from "./options.ts";
import { ReceiveBatch } from "./receive-batch.ts";
import { createSocket, kernelAddress, type NetlinkSocket } from "./socket.ts";

/** Opens a socket in the namespace of this process. Throws `netlink-failed` if the kernel has no such protocol. */
export function openAheadSocket(protocol: number): NetlinkSocket {
  const fd = createSocket(protocol);
  let [ready, spare] = [newBatch(), newBatch()];
  let filling: Promise<void> | undefined;
  let calls = 0;
  let isClosed = false;
  /**
   * Close only when no call is running: the descriptor number could be reused for another file while the call uses it.
   */
  const release = () => {
    if (isClosed && calls === 0) close(fd);
  };
  const onThread = async <T>(call: Promise<T>): Promise<T> => {
    calls++;
    try {
      return await call;
    } finally {
      calls--;
      release();
    }
  };
  return {
    async send(bytes) {
      if (isClosed) return -EBADF;
      return onThread(sendto.async(fd, bytes, bytes.length, 0, kernelAddress, kernelAddress.length));
    },
    receive(buffer) {
      return isClosed ? -EBADF : ready.take(buffer);
    },
    async readable() {
      if (isClosed) return;
      filling ??= onThread(spare.fill(fd));
      await filling;
      [ready, spare] = [spare, ready];
      // A batch that is not full took everything there was.
      filling = ready.isFull && !isClosed ? onThread(spare.fill(fd)) : undefined;
      if (ready.isEmpty) await delay(1);
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      release();
    },
  };
}

const batchSize = 16;
const newBatch = () => new ReceiveBatch(batchSize, messageBytes);
const EBADF = 9;
