/**
 * Hears who claims addresses on the wire, without asking (RFC 5227 §2.4). Nothing waits on its sockets: what came in is
 * taken when somebody asks. What does not fit meanwhile is lost; who claims an address does so again.
 */
import { type ArpPacket, decodeArp, type Mac, unspecified } from "../../../lib/arp/packet.ts";
import type { Ipv4 } from "../../../lib/model/ipv4.ts";
import { arpBufferBytes, type PacketSocket } from "./packet-socket.ts";

/** Packets taken from one link at a time: some milliseconds. What is left waits for the next time. */
const mostPackets = 4_096;

export class ClaimListener {
  readonly #openSocket: (linkIndex: number) => PacketSocket;
  /** By the link's index: a link that was made anew is another. */
  readonly #sockets = new Map<number, PacketSocket>();
  readonly #buffer = new Uint8Array(arpBufferBytes);

  constructor(openSocket: (linkIndex: number) => PacketSocket) {
    this.#openSocket = openSocket;
  }

  /**
   * What was claimed on these links since the last call, by address the last MAC. Begins to listen on those that are
   * new, and ceases on all others. Throws `internal` where no packet socket can be opened.
   */
  hear(linkIndexes: ReadonlySet<number>): ReadonlyMap<Ipv4, Mac> {
    for (const [index, socket] of this.#sockets) {
      if (linkIndexes.has(index)) continue;
      socket.close();
      this.#sockets.delete(index);
    }
    const claims = new Map<Ipv4, Mac>();
    for (const index of linkIndexes) {
      const socket = this.#sockets.get(index) ?? this.#openSocket(index);
      this.#sockets.set(index, socket);
      for (const { senderIp, senderMac } of received(socket, this.#buffer)) claims.set(senderIp, senderMac);
    }
    // Who asks before he takes an address claims none yet: the kernel tells him whose it is.
    claims.delete(unspecified);
    return claims;
  }

  close(): void {
    this.hear(new Set());
  }
}

/** A link that went down says so once, and then that nothing waits: either way there is no more for now. */
function* received(socket: PacketSocket, buffer: Uint8Array): Generator<ArpPacket> {
  for (let count = 0; count < mostPackets; count++) {
    const length = socket.receive(buffer);
    if (length < 0) return;
    const packet = decodeArp(buffer.subarray(0, length));
    if (packet !== undefined) yield packet;
  }
}
