/** By which interface a TCP connection came in, as the kernel noted it when the connection was made. */
import type { Server, Socket } from "node:net";
import { getsockopt, libcFunction, setSocketOption } from "./libc.ts";

const SOL_IP = 0;
const IP_PKTINFO = 8;
const IP_PKTOPTIONS = 9;
/** `struct cmsghdr`: length, level, type; and behind it `struct in_pktinfo`, which begins with the interface's index. */
const cmsgHeaderBytes = 16;
const loopbackIndex = 1;
/** Of `linux/netfilter_ipv4.h`. It fills a `struct sockaddr_in`: family, port, address. */
const SO_ORIGINAL_DST = 80;
const sockaddrBytes = 16;

/** To be called when `server` listens: connections made before are of unknown arrival. */
export function noteArrivals(server: Server): void {
  const fd = descriptorOf(server);
  if (fd !== undefined) setSocketOption(fd, SOL_IP, IP_PKTINFO, 1);
}

/**
 * True if the connection came over loopback, or by an interface of this name to the address that it has, without a DNAT. Of a
 * listener without {@link noteArrivals}: false.
 */
export function isArrivedBy(socket: Socket, name: string | undefined): boolean {
  const index = arrivalOf(socket);
  if (index === undefined || index === 0) return false;
  if (index === loopbackIndex) return true;
  return name !== undefined && index === indexOf(name) && !isRedirected(socket);
}

/** True if the original destination in conntrack differs (DNAT). An untracked connection is never translated. */
function isRedirected(socket: Socket): boolean {
  const fd = descriptorOf(socket);
  const bytes = new Uint8Array(sockaddrBytes);
  const length = Uint8Array.of(sockaddrBytes, 0, 0, 0);
  if (fd === undefined || getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, bytes, length) < 0) return false;
  const port = new DataView(bytes.buffer).getUint16(2);
  return bytes.subarray(4, 8).join(".") !== socket.localAddress || port !== socket.localPort;
}

function arrivalOf(socket: Socket): number | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  const bytes = new Uint8Array(64);
  const length = Uint8Array.of(bytes.length, 0, 0, 0);
  if (getsockopt(fd, SOL_IP, IP_PKTOPTIONS, bytes, length) < 0) return undefined;
  const view = new DataView(bytes.buffer);
  const isTold =
    (length[0] ?? 0) >= cmsgHeaderBytes + 4 &&
    view.getInt32(8, true) === SOL_IP &&
    view.getInt32(12, true) === IP_PKTINFO;
  return isTold ? view.getInt32(cmsgHeaderBytes, true) : undefined;
}

/** 0 if there is no such interface. */
function indexOf(name: string): number {
  return nameToIndex(new TextEncoder().encode(`${name}\0`));
}

const nameToIndex = libcFunction<[name: Uint8Array]>("uint32_t if_nametoindex(void *)");

/** Node has no public way to the descriptor of a socket. */
export function descriptorOf(socket: Server | Socket): number | undefined {
  const handle: unknown = "_handle" in socket ? socket._handle : undefined;
  const fd: unknown = typeof handle === "object" && handle !== null && "fd" in handle ? handle.fd : undefined;
  return typeof fd === "number" && fd >= 0 ? fd : undefined;
}
