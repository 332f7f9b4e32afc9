/**
 * A netlink socket of the `netlink` package, made safe.
 *
 * The package aborts the process (SIGABRT, no handler runs) if its socket has a pending error while it is polled, and
 * if anything throws inside one of its callbacks. Therefore:
 * - Overruns are counted and never pending errors. This needs the descriptor, which the package hides. Without it there
 *   is no socket.
 * - Its callbacks only schedule work: no other code, including promises, runs inside them. So nothing throws there, and
 *   nothing closes the socket while the package uses it.
 */
import { readdirSync } from "node:fs";
// The whole package, with unused codecs, costs 7 MB more.
import { RawNetlinkSocket } from "netlink/dist/raw.js";
import { GatewayError } from "../../../lib/model/errors.ts";
import { getsockopt, libcFunction } from "../libc.ts";
import { countOverruns, explainAndFilter, messageBytes, readDrops, receiveBufferBytes } from "./options.ts";
import { createRtnlWait } from "./rtnl.ts";
import type { NetlinkSocket } from "./socket.ts";

/**
 * Opens a socket in the namespace of this process. Throws `netlink-failed` if the kernel has no such protocol.
 *
 * @param descriptors the directory that lists the process's descriptors
 * @returns `undefined` if the socket's descriptor is not found there
 */
export function openPackageSocket(
  protocol: number,
  descriptors = "/proc/self/fd",
): NetlinkSocket | undefined {
  const raw = create(protocol);
  const fd = findDescriptor(protocol, raw.address().port, descriptors);
  if (fd === undefined || countOverruns(fd) < 0) {
    raw.close();
    return undefined;
  }
  explainAndFilter(fd);
  // An open connection does not keep the process alive. Callers that wait on it have a timer.
  raw.unref();

  const received: { readonly bytes: Uint8Array; readonly length: number }[] = [];
  /** The result of `receive` when nothing waits. */
  let state = -EAGAIN;
  const rtnl = createRtnlWait();
  let isClosed = false;
  let blockedMs = 0;
  let endSend = (_: number) => {};
  let wake = () => {};
  const fail = (negativeErrno: number) => {
    state = negativeErrno;
    endSend(negativeErrno);
    wake();
  };
  const take = (bytes: Uint8Array, length: number, port: number) => {
    // Other processes can send to this port. Accept only messages from port 0, the kernel.
    if (port === 0) received.push({ bytes, length });
    wake();
  };
  raw.on("message", (bytes, { port }) => {
    setImmediate(take, bytes, bytes.length, port);
  });
  raw.on("truncatedMessage", (bytes, { port, truncated = bytes.length + 1 }) => {
    setImmediate(take, bytes, truncated, port);
  });
  raw.on("error", (error) => {
    setImmediate(fail, -error.errno);
  });

  return {
    async send(bytes) {
      await rtnl.untilFree();
      if (isClosed) return -EBADF;
      const { promise, resolve } = Promise.withResolvers<number>();
      endSend = resolve;
      const begunMs = performance.now();
      raw.send(bytes, {}, (error) => {
        setImmediate(resolve, error === undefined ? bytes.length : -error.errno);
      });
      blockedMs = performance.now() - begunMs;
      return promise;
    },
    get blockedMs() {
      return blockedMs;
    },
    receive(buffer) {
      if (state !== -EAGAIN) return state;
      const next = received.shift();
      if (next === undefined) return readDrops(fd) > 0 ? -ENOBUFS : -EAGAIN;
      buffer.set(next.bytes.subarray(0, buffer.length));
      return next.length;
    },
    readable() {
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      if (received.length > 0 || state !== -EAGAIN) resolve();
      return promise;
    },
    close() {
      if (isClosed) return;
      isClosed = true;
      rtnl.close();
      raw.close();
      // The package forgets a send that is in progress.
      fail(-EBADF);
    },
  };
}

function create(protocol: number): RawNetlinkSocket {
  try {
    return new RawNetlinkSocket(protocol, {
      messagePeeking: false,
      msgBufferSize: messageBytes,
      recvBufferSize: receiveBufferBytes,
      sendBufferSize: sendBufferBytes,
    });
  } catch (cause) {
    throw new GatewayError("netlink-failed", `cannot open netlink socket ${protocol}`, { cause });
  }
}

/** Finds the descriptor of this process that is the netlink socket with this port. */
function findDescriptor(protocol: number, port: number, directory: string): number | undefined {
  return descriptorsIn(directory).find((fd) => {
    const [family, ownPort] = netlinkAddress(fd);
    return family === AF_NETLINK && ownPort === port && protocolOf(fd) === protocol;
  });
}

/** Empty if /proc cannot be read: then no descriptor is known. */
function descriptorsIn(directory: string): readonly number[] {
  try {
    return readdirSync(directory).map(Number);
  } catch {
    return [];
  }
}

/** `struct sockaddr_nl`: family and padding, port, groups. Family 0 if the descriptor has no address. */
function netlinkAddress(fd: number): readonly [family: number, port: number] {
  const address = new DataView(new ArrayBuffer(12));
  getsockname(fd, new Uint8Array(address.buffer), Uint8Array.of(address.byteLength, 0, 0, 0));
  return [address.getUint16(0, true), address.getUint32(4, true)];
}

function protocolOf(fd: number): number {
  const value = new DataView(new ArrayBuffer(4));
  getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, new Uint8Array(value.buffer), Uint8Array.of(4, 0, 0, 0));
  return value.getUint32(0, true);
}

const getsockname = libcFunction<[fd: number, address: Uint8Array, length: Uint8Array]>(
  "int getsockname(int, void *, void *)",
);

/** A send of 64 KiB fits. The kernel doubles the value for its bookkeeping. */
const sendBufferBytes = 128 * 1024;

const AF_NETLINK = 16;
const SOL_SOCKET = 1;
const SO_PROTOCOL = 38;
const EBADF = 9;
const EAGAIN = 11;
const ENOBUFS = 105;
