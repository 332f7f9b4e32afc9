/** A packet socket for ARP on one link (packet(7)). The kernel adds and removes the Ethernet header. */
import { constants } from "node:os";
import { GatewayError } from "../../../lib/model/errors.ts";
import { close, errnoName, libcFunction, sendto, setSocketOption, socket } from "../libc.ts";

export interface PacketSocket {
  /** Settles when the socket receives, or never will because the link is gone. Never rejects. */
  readonly opened: Promise<void>;
  /**
   * Broadcasts on the link without waiting.
   * @returns bytes sent or −errno
   */
  broadcast(packet: Uint8Array): number;
  /**
   * Receives one packet of another host without waiting.
   * @returns its length, or −errno: −EAGAIN if there is none
   */
  receive(buffer: Uint8Array): number;
  /** Can be called twice. */
  close(): void;
}

/** What a socket is for. One for `send` receives nothing. */
export type SocketUse = "send" | "receive";

/**
 * Opens a socket on the link with this index, in the namespace of this process. If the link is gone, every call returns
 * −errno; it does not throw. Throws `internal` if the process may not open packet sockets.
 */
export function openArpSocket(linkIndex: number, use: SocketUse): PacketSocket {
  // Without a protocol it receives nothing before bind, so it never gets packets of other links.
  let fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new GatewayError("internal", `cannot open a packet socket: ${errnoName(-fd)}`);

  const everyone = linkAddress(linkIndex);
  let bound = -EAGAIN;
  const bindInBackground = async () => {
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes);
    // The kernel waits until no processor uses the old binding, which takes milliseconds to tens of them.
    bound = await bind.async(fd, everyone, everyone.length);
  };
  const opened = use === "receive" ? bindInBackground() : Promise.resolve();
  return {
    opened,
    broadcast: (packet) =>
      bound < 0 && bound !== -EAGAIN
        ? bound
        : sendto(fd, packet, packet.length, MSG_DONTWAIT, everyone, everyone.length),
    receive: (buffer) => (bound < 0 ? bound : recv(fd, buffer, buffer.length, MSG_DONTWAIT)),
    close: () => {
      const closing = fd;
      fd = -1;
      // Closing waits like bind. Not before bind has ended: another file could get the number of the descriptor.
      if (closing >= 0) void opened.then(() => close.async(closing)).catch(() => {});
    },
  };
}

/** Buffer size for `receive`. Larger than the longest ARP packet; a longer packet is truncated and is not ARP. */
export const arpBufferBytes = 128;

/** Room for thousands of replies at once: on a veth they arrive before the send returns. */
const receiveBufferBytes = 4 << 20;

/** `struct sockaddr_ll` for ARP to the broadcast address. bind uses only family, protocol and index. */
function linkAddress(linkIndex: number): Uint8Array {
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ETH_P_ARP);
  view.setInt32(4, linkIndex, true);
  address[11] = 6;
  address.fill(0xff, 12, 18);
  return address;
}

const bind = libcFunction<[fd: number, address: Uint8Array, length: number]>(
  "int bind(int, void *, uint32_t)",
);
const recv = libcFunction<[fd: number, buffer: Uint8Array, length: number, flags: number]>(
  "long recv(int, void *, size_t, int)",
);
const { EAGAIN } = constants.errno;
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const ETH_P_ARP = 0x0806;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
