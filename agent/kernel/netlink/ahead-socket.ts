/**
 * A netlink socket that calls libc directly and receives ahead: while one batch of messages is processed, a thread
 * receives the next.
 *
 * The kernel builds a dump inside the receiving call, at 2 µs per entry. On the event loop this would block everything
 * else; on a thread it runs in parallel. A batch has many messages, otherwise waking the thread would cost more than it
 * saves.
 */
import { setTimeout as delay } from "node:timers/promises";
import koffi from "koffi";
import { close, libcFunction, sendto } from "../libc.ts";
import { messageBytes } from "./options.ts";
import { createSocket, kernelAddress, type NetlinkSocket } from "./socket.ts";

/** Opens a socket in the namespace of this process. Throws `netlink-failed` if the kernel has no such protocol. */
export function openAheadSocket(protocol: number): NetlinkSocket {
  const fd = createSocket(protocol);
  let [ready, spare] = [new Lot(), new Lot()];
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

const lotSize = 16;
/** `struct mmsghdr` of recvmmsg(2) on 64 bits, `struct iovec`, `struct sockaddr_nl`. */
const headerBytes = 64;
const vectorBytes = 16;
const senderBytes = 12;
/** Offsets in `struct mmsghdr`. */
const field = { sender: 0, senderLength: 8, vectors: 16, vectorCount: 24, received: 56 } as const;

/** The messages of one recvmmsg(2), each with its own buffer. */
class Lot {
  readonly #messages = new Uint8Array(lotSize * messageBytes);
  /**
   * All headers, then all vectors, then all senders. It contains pointers into itself, so it must not move; the garbage
   * collector moves neither buffer.
   */
  readonly #control = new DataView(new ArrayBuffer(lotSize * (headerBytes + vectorBytes + senderBytes)));
  /** The number of messages, or −errno. */
  #count = 0;
  #next = 0;

  constructor() {
    const control = this.#control;
    const [messagesAt, controlAt] = [koffi.address(this.#messages), koffi.address(control)];
    for (let slot = 0; slot < lotSize; slot++) {
      const [header, vector] = [slot * headerBytes, lotSize * headerBytes + slot * vectorBytes];
      control.setBigUint64(header + field.sender, controlAt + BigInt(senderOf(slot)), true);
      control.setUint32(header + field.senderLength, senderBytes, true);
      control.setBigUint64(header + field.vectors, controlAt + BigInt(vector), true);
      control.setBigUint64(header + field.vectorCount, 1n, true);
      control.setBigUint64(vector, messagesAt + BigInt(slot * messageBytes), true);
      control.setBigUint64(vector + 8, BigInt(messageBytes), true);
    }
  }

  get isFull(): boolean {
    return this.#count === lotSize;
  }

  get isEmpty(): boolean {
    return this.#count <= 0;
  }

  /** Receives what is waiting, without waiting for more. */
  async fill(fd: number): Promise<void> {
    const headers = new Uint8Array(this.#control.buffer);
    this.#count = await recvmmsg.async(fd, headers, lotSize, MSG_DONTWAIT | MSG_TRUNC, null);
    this.#next = 0;
  }

  /** Like `NetlinkSocket.receive`. */
  take(buffer: Uint8Array): number {
    while (this.#next < this.#count) {
      const slot = this.#next++;
      // Other processes can send to this port. Accept only messages from port 0, the kernel.
      if (this.#control.getUint32(senderOf(slot) + 4, true) !== 0) continue;
      const start = slot * messageBytes;
      buffer.set(this.#messages.subarray(start, start + Math.min(messageBytes, buffer.length)));
      return this.#control.getUint32(slot * headerBytes + field.received, true);
    }
    return this.#count < 0 && this.#count !== -EINTR ? this.#count : -EAGAIN;
  }
}

function senderOf(slot: number): number {
  return lotSize * (headerBytes + vectorBytes) + slot * senderBytes;
}

const recvmmsg = libcFunction<[fd: number, headers: Uint8Array, count: number, flags: number, timeout: null]>(
  "int recvmmsg(int, void *, unsigned int, int, void *)",
);
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const EINTR = 4;
const EBADF = 9;
const EAGAIN = 11;
