/**
 * Waits on a thread until nobody holds RTNL, the kernel's lock of network configuration.
 *
 * The kernel works on a request of rtnetlink during the send, and takes this lock first. Any process on the node may hold it:
 * for a second if it deletes the first of 10,000 addresses. A request by libc, sent on a thread, waits for the lock; once it
 * is answered, a send on the event loop finds the lock free. Another process may take it in between, but hardly ever does.
 */
import { encodeMessages } from "../../../lib/netlink/message.ts";
import { readLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { messageBytes } from "./options.ts";
import { type NetlinkSocket, openNetlinkSocket } from "./socket.ts";

export interface RtnlWait {
  /** One call at a time. */
  untilFree(): Promise<void>;
  /** Can be called twice, and during a wait. */
  close(): void;
}

/** The first wait opens the socket, so that a socket that cannot be opened fails that request alone. */
export function createRtnlWait(): RtnlWait {
  let socket: NetlinkSocket | undefined;
  let isClosed = false;
  const question = encodeMessages([readLink(loopbackIndex)], 0, 0);
  const buffer = new Uint8Array(messageBytes);
  return {
    async untilFree() {
      if (isClosed) return;
      socket ??= openNetlinkSocket(NETLINK_ROUTE);
      await socket.send(question);
      while (socket.receive(buffer) > 0);
    },
    close() {
      isClosed = true;
      socket?.close();
    },
  };
}

const NETLINK_ROUTE = 0;
/** In every namespace. */
const loopbackIndex = 1;
