/** A packet socket for ARP on one link (packet(7)). The kernel adds and takes off the Ethernet header. */
import { GatewayError } from "../../../lib/model/errors.ts";
import { close, errnoName, libcFunction, sendto, setSocketOption, socket } from "../libc.ts";

export interface PacketSocket {
  /** Sends to every station of the link, without waiting. @returns bytes sent or −errno */
  broadcast(packet: Uint8Array): number;
  /** Takes one packet that others sent, without waiting. @returns its length, or −errno: −EAGAIN where none waits */
  receive(buffer: Uint8Array): number;
  /** May be called twice. */
  close(): void;
}

/**
 * Opens a socket on the link with this index in the namespace of this process. A link that is gone is a −errno of
 * every call, not an exception. Throws `internal` where the process may open no packet socket at all.
 */
export function openArpSocket(linkIndex: number): PacketSocket {
  // Without a protocol it hears nothing until it is bound: never other links' packets.
  let fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new GatewayError("internal", `a packet socket could not be opened: ${errnoName(-fd)}`);

  setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes);
  const everyone = linkAddress(linkIndex);
  const bound = bind(fd, everyone, everyone.length);
  return {
    broadcast: (packet) =>
      bound < 0 ? bound : sendto(fd, packet, packet.length, MSG_DONTWAIT, everyone, everyone.length),
    receive: (buffer) => (bound < 0 ? bound : recv(fd, buffer, buffer.length, MSG_DONTWAIT)),
    close: () => {
      if (fd >= 0) close(fd);
      fd = -1;
    },
  };
}

/** What `receive` is to be given. More than the longest ARP packet: what is longer is cut, and none of ours. */
export const arpBufferBytes = 128;

/** Room for thousands of answers that come at once: on a veth they are there before the send returns. */
const receiveBufferBytes = 4 << 20;

/** `struct sockaddr_ll` of ARP to the broadcast address; to bind, only family, protocol and index count. */
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
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const ETH_P_ARP = 0x0806;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
