/** Who is at the other end of a Unix socket, as the kernel noted it when the connection was made. */
import type { Socket } from "node:net";
import { descriptorOf } from "./arrival.ts";
import { getsockopt } from "./libc.ts";

export interface PeerCredentials {
  readonly uid: number;
  /** 0 if the process is in another pid namespace. */
  readonly pid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** `struct ucred`: pid, uid, gid. */
const ucredBytes = 12;

/** `undefined` if the kernel does not tell, such as for a connection that is closed. */
export function readPeerCredentials(socket: Socket): PeerCredentials | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  const ucred = new Uint8Array(ucredBytes);
  const length = Uint8Array.of(ucredBytes, 0, 0, 0);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ucred, length) < 0 || length[0] !== ucredBytes)
    return undefined;
  const view = new DataView(ucred.buffer);
  return { pid: view.getInt32(0, true), uid: view.getUint32(4, true) };
}
