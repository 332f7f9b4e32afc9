/**
 * A netlink socket on libc's own calls that receives ahead: while the messages of one lot are looked at, a thread has the
 * kernel make those of the next.
 *
 * A dump of a large table is the kernel's work, 2 µs an entry, and done inside the receiving call. On the event loop it
 * would hold up everything else for as long; on a thread it goes on beside. A lot is many messages, or waking the thread
 * would cost more than it saves.
 */
import { setTimeout as delay } from "node:timers/promises";
import koffi from "koffi";
import { close, libcFunction, sendto } from "../libc.ts";
import { messageBytes } from "./options.ts";
import { createSocket, kernelAddress, type NetlinkSocket } from "./socket.ts";

/** Opens a socket in the namespace of this process. Throws `netlink-failed` where the kernel has no such protocol. */
export function openAheadSocket(protocol: number): NetlinkSocket {
  const fd = createSocket(protocol);
  let [ready, spare] = [new Lot(), new Lot()];
  let filling: Promise<void> | undefined;
  let calls = 0;
  let isClosed = false;
  /** A descriptor closed under a running call could be another file's by the time the call uses it. */
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
      // One that is not full took all that there was.
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
/** In `struct mmsghdr`. */
const field = { sender: 0, senderLength: 8, vectors: 16, vectorCount: 24, received: 56 } as const;

/** The messages of one recvmmsg(2), each with room of its own. */
class Lot {
  readonly #messages = new Uint8Array(lotSize * messageBytes);
  /** All headers, then all vectors, then all senders. It has pointers into itself: the garbage collector moves neither. */
  readonly #control = new DataView(new ArrayBuffer(lotSize * (headerBytes + vectorBytes + senderBytes)));
  /** How many there are, or −errno. */
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

  /** Takes what is waiting, without waiting for more. */
  async fill(fd: number): Promise<void> {
    const headers = new Uint8Array(this.#control.buffer);
    this.#count = await recvmmsg.async(fd, headers, lotSize, MSG_DONTWAIT | MSG_TRUNC, null);
    this.#next = 0;
  }

  /** As `NetlinkSocket.receive`. */
  take(buffer: Uint8Array): number {
    while (this.#next < this.#count) {
      const slot = this.#next++;
      // Another process may send to this port: only what port 0, the kernel, says counts.
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
