/** Options of a netlink socket (netlink(7)), by descriptor. */
import { getsockopt, setSocketOption } from "../libc.ts";

/**
 * Receive buffer: twice what the kernel fills in one call (netlink_dump() uses 32 KiB unless one message is larger).
 */
export const messageBytes = 64 * 1024;

/** Room for the refusals of a batch, each with the header of its request. */
export const receiveBufferBytes = 4 << 20;

/** Asks the kernel for error texts, filtered dumps, and a larger receive buffer than the usual limit. */
export function explainAndFilter(fd: number): void {
  // The first option needs CAP_NET_ADMIN.
  if (setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes) < 0) {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBufferBytes);
  }
  // All three exist since Linux 4.20. An older kernel gives shorter errors and filters less; the decoders filter again.
  setSocketOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
  setSocketOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
  setSocketOption(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
}

/**
 * From now on overruns are counted ({@link readDrops}) and are no socket errors.
 * @returns 0 or −errno
 */
export function countOverruns(fd: number): number {
  return setSocketOption(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1);
}

/**
 * The number of messages that the kernel dropped for lack of room. 0 if the kernel does not report it (before Linux
 * 4.12).
 */
export function readDrops(fd: number): number {
  const info = new Uint32Array(SK_MEMINFO_DROPS + 1);
  const length = new Uint8Array(Uint32Array.of(info.byteLength).buffer);
  getsockopt(fd, SOL_SOCKET, SO_MEMINFO, new Uint8Array(info.buffer), length);
  return info[SK_MEMINFO_DROPS] ?? 0;
}

const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
const SK_MEMINFO_DROPS = 8;
const SOL_NETLINK = 270;
const NETLINK_NO_ENOBUFS = 5;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
