/** Receives many netlink messages in one call. */
import koffi from "koffi";
import { libcFunction } from "../libc.ts";

/** `struct mmsghdr` of recvmmsg(2) on 64 bits, `struct iovec`, `struct sockaddr_nl`. */
const headerBytes = 64;
const vectorBytes = 16;
const senderBytes = 12;
/** Offsets in `struct mmsghdr`. */
const field = { sender: 0, senderLength: 8, vectors: 16, vectorCount: 24, received: 56 } as const;

/** The messages of one recvmmsg(2), each with its own buffer. */
export class ReceiveBatch {
  readonly #size: number;
  readonly #messageBytes: number;
  readonly #messages: Uint8Array;
  /**
   * All headers, then all vectors, then all senders. It contains pointers into itself, so it must not move; the garbage
   * collector moves neither buffer.
   */
  readonly #control: DataView;
  readonly #headers: Uint8Array;
  /** The number of messages, or −errno. */
  #count = 0;
  #next = 0;

  /** @param size messages received at once. @param messageBytes the room for each */
  constructor(size: number, messageBytes: number) {
    this.#size = size;
    this.#messageBytes = messageBytes;
    this.#messages = new Uint8Array(size * messageBytes);
    const control = new DataView(new ArrayBuffer(size * (headerBytes + vectorBytes + senderBytes)));
    this.#control = control;
    this.#headers = new Uint8Array(control.buffer);
    const [messagesAt, controlAt] = [koffi.address(this.#messages), koffi.address(control)];
    for (let slot = 0; slot < size; slot++) {
      const [header, vector] = [slot * headerBytes, size * headerBytes + slot * vectorBytes];
      control.setBigUint64(header + field.sender, controlAt + BigInt(this.#senderOf(slot)), true);
      control.setUint32(header + field.senderLength, senderBytes, true);
      control.setBigUint64(header + field.vectors, controlAt + BigInt(vector), true);
      control.setBigUint64(header + field.vectorCount, 1n, true);
      control.setBigUint64(vector, messagesAt + BigInt(slot * messageBytes), true);
      control.setBigUint64(vector + 8, BigInt(messageBytes), true);
    }
  }

  get isFull(): boolean {
    return this.#count === this.#size;
  }

  get isEmpty(): boolean {
    return this.#count <= 0;
  }

  /** Receives what is waiting, without waiting for more, on a thread. */
  async fill(fd: number): Promise<void> {
    this.#count = await recvmmsg.async(fd, this.#headers, this.#size, MSG_DONTWAIT | MSG_TRUNC, null);
    this.#next = 0;
  }

  /** The same at once, for messages that the kernel has ready. */
  fillNow(fd: number): void {
    this.#count = recvmmsg(fd, this.#headers, this.#size, MSG_DONTWAIT | MSG_TRUNC, null);
    this.#next = 0;
  }

  /** Like `NetlinkSocket.receive`. */
  take(buffer: Uint8Array): number {
    while (this.#next < this.#count) {
      const slot = this.#next++;
      // Other processes can send to this port. Accept only messages from port 0, the kernel.
      if (this.#control.getUint32(this.#senderOf(slot) + 4, true) !== 0) continue;
      const start = slot * this.#messageBytes;
      buffer.set(this.#messages.subarray(start, start + Math.min(this.#messageBytes, buffer.length)));
      return this.#control.getUint32(slot * headerBytes + field.received, true);
    }
    return this.#count < 0 && this.#count !== -EINTR ? this.#count : -EAGAIN;
  }

  #senderOf(slot: number): number {
    return this.#size * (headerBytes + vectorBytes) + slot * senderBytes;
  }
}

const recvmmsg = libcFunction<[fd: number, headers: Uint8Array, count: number, flags: number, timeout: null]>(
  "int recvmmsg(int, void *, unsigned int, int, void *)",
);
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const EINTR = 4;
const EAGAIN = 11;
