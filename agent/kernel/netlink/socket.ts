/**
 * A netlink socket that calls libc directly.
 *
 * The kernel processes a request during the send, and produces each further part of a dump when the previous part is
 * received. So no polling is needed: send, then receive until the answer is complete. An overrun is an ordinary errno.
 * package-socket.ts is the alternative; docs/adr/0002-netlink.md says which is used where.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import { putU32 } from "../../../lib/netlink/attributes.ts";
import { close, errnoName, libcFunction, sendto, setSocketOption, socket } from "../libc.ts";
import { explainAndFilter } from "./options.ts";

export interface NetlinkSocket {
  /**
   * Sends whole messages to the kernel.
   * @returns bytes sent or −errno
   */
  send(bytes: Uint8Array): Promise<number>;
  /** For how long the last send blocked the event loop, in ms. Absent: it does not. */
  readonly blockedMs?: number;
  /**
   * Receives what is waiting, without blocking.
   *
   * @returns the full length, more than the size of `buffer` if it was truncated; −EAGAIN if nothing waits; −errno
   */
  receive(buffer: Uint8Array): number;
  /**
   * Settles when `receive` may succeed. It may never settle, so use a timeout. Not needed for sockets whose answers
   * arrive during the send.
   */
  readable?(): Promise<void>;
  /** Can be called twice, and during a send. */
  close(): void;
}

export interface NetlinkSocketOptions {
  /**
   * Maximum size of a send, if it must exceed the system's limit (about 200 KiB). Needs CAP_NET_ADMIN. Nothing is
   * reserved.
   */
  readonly sendBufferBytes?: number;
  /** Multicast groups to join, as a mask. An overrun is then an errno of the next `receive`. */
  readonly groups?: number;
}

/** Opens a socket in the namespace of this process. Throws `netlink-failed` if the kernel has no such protocol. */
export function openNetlinkSocket(protocol: number, options: NetlinkSocketOptions = {}): NetlinkSocket {
  const fd = createSocket(protocol);
  // Without the capability a long send is refused later, with a clear error.
  if (options.sendBufferBytes !== undefined) {
    setSocketOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, options.sendBufferBytes);
  }
  if (options.groups !== undefined) join(fd, options.groups);

  let sending: Uint8Array | undefined;
  let isClosed = false;
  const sender = new Uint8Array(kernelAddress.length);
  const senderLength = Uint8Array.of(sender.length, 0, 0, 0);
  const release = () => {
    // Close only when no send is running: the descriptor number could be reused for another file while the call uses
    // it.
    if (isClosed && sending === undefined) close(fd);
  };
  return {
    async send(bytes) {
      if (isClosed) return -EBADF;
      sending = bytes;
      try {
        // On a thread: the call may wait for a kernel lock.
        return await sendto.async(fd, bytes, bytes.length, 0, kernelAddress, kernelAddress.length);
      } finally {
        sending = undefined;
        release();
      }
    },
    receive(buffer) {
      if (isClosed) return -EBADF;
      for (;;) {
        const length = recvfrom(fd, buffer, buffer.length, MSG_DONTWAIT | MSG_TRUNC, sender, senderLength);
        if (length === -EINTR) continue;
        // Other processes can send to this port. Accept only messages from port 0, the kernel.
        if (length < 0 || sender.subarray(4, 8).every((byte) => byte === 0)) return length;
      }
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      release();
    },
  };
}

/** @returns its descriptor. Throws `netlink-failed` if the kernel has no such protocol. */
export function createSocket(protocol: number): number {
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) {
    const code = errnoName(-fd);
    throw new GatewayError("netlink-failed", `netlink socket ${protocol}: ${code}`, { details: { code } });
  }
  explainAndFilter(fd);
  return fd;
}

/** Joins multicast groups, a mask. Throws `netlink-failed` and closes the socket if it may not. */
export function join(fd: number, groups: number): void {
  const address = Uint8Array.from(kernelAddress);
  putU32(address, 8, groups);
  const result = bind(fd, address, address.length);
  if (result === 0) return;
  close(fd);
  throw new GatewayError("netlink-failed", `netlink groups ${groups}: ${errnoName(-result)}`);
}

/** `struct sockaddr_nl` of port 0, the kernel. Little-endian, as all supported machines. */
export const kernelAddress = Uint8Array.of(16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

const bind = libcFunction<[fd: number, address: Uint8Array, length: number]>(
  "int bind(int, void *, uint32_t)",
);
const recvfrom = libcFunction<
  [fd: number, buffer: Uint8Array, length: number, flags: number, from: Uint8Array, fromLength: Uint8Array]
>("long recvfrom(int, void *, size_t, int, void *, void *)");
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const EINTR = 4;
const EBADF = 9;
