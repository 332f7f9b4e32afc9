/**
 * One netlink socket on libc's own calls.
 *
 * The kernel works a request off while it is being sent and makes each further part of a dump when the last
 * one is received. So there is nothing to poll for: send, then receive until the answer is complete. An overrun is
 * an errno like any other here. package-socket.ts is the other one; docs/adr/0002-netlink.md says which serves what.
 */
import { GatewayError } from "../../../lib/model/errors.ts";
import { putU32 } from "../../../lib/netlink/attributes.ts";
import { close, errnoName, libcFunction, sendto, setSocketOption, socket } from "../libc.ts";
import { explainAndFilter } from "./options.ts";

export interface NetlinkSocket {
  /** Hands whole messages to the kernel. @returns bytes sent or −errno */
  send(bytes: Uint8Array): Promise<number>;
  /**
   * Takes what is waiting, without waiting.
   *
   * @returns its full length, more than `buffer` holds where it was cut; −EAGAIN where nothing waits; −errno
   */
  receive(buffer: Uint8Array): number;
  /**
   * Settles when another `receive` is worth a try; perhaps never, so bound it. A socket whose answers come with the
   * send has no need of it.
   */
  readable?(): Promise<void>;
  /** May be called twice, and while a send is under way. */
  close(): void;
}

export interface NetlinkSocketOptions {
  /** The longest send, where it is to be more than the system's 200 KiB or so; needs CAP_NET_ADMIN. Nothing is reserved. */
  readonly sendBufferBytes?: number;
  /** Multicast groups to join, as a mask. An overrun is an errno of the next `receive` then. */
  readonly groups?: number;
}

/** Opens a socket in the namespace of this process. Throws `netlink-failed` where the kernel has no such protocol. */
export function openNetlinkSocket(protocol: number, options: NetlinkSocketOptions = {}): NetlinkSocket {
  const fd = createSocket(protocol);
  // Without the right to it a long send is refused, which says so.
  if (options.sendBufferBytes !== undefined) {
    setSocketOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, options.sendBufferBytes);
  }
  if (options.groups !== undefined) join(fd, options.groups);

  let sending: Uint8Array | undefined;
  let isClosed = false;
  const sender = new Uint8Array(kernelAddress.length);
  const senderLength = Uint8Array.of(sender.length, 0, 0, 0);
  const release = () => {
    // A descriptor closed under a running call could be another file's by the time the call uses it.
    if (isClosed && sending === undefined) close(fd);
  };
  return {
    async send(bytes) {
      if (isClosed) return -EBADF;
      sending = bytes;
      try {
        // On a thread: it may have to wait for a lock.
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
        // Another process may send to this port: only what port 0, the kernel, says counts.
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

/** @returns its descriptor. Throws `netlink-failed` where the kernel has no such protocol. */
export function createSocket(protocol: number): number {
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw new GatewayError("netlink-failed", `netlink socket ${protocol}: ${errnoName(-fd)}`);
  explainAndFilter(fd);
  return fd;
}

function join(fd: number, groups: number): void {
  const address = Uint8Array.from(kernelAddress);
  putU32(address, 8, groups);
  const result = bind(fd, address, address.length);
  if (result === 0) return;
  close(fd);
  throw new GatewayError("netlink-failed", `netlink groups ${groups}: ${errnoName(-result)}`);
}

/** `struct sockaddr_nl` of port 0, the kernel. Little-endian, like all that the agent is built for. */
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
