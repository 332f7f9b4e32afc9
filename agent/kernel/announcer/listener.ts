/**
 * Hears what others say by ARP, without asking (RFC 5227 §2.4). Nothing waits on its sockets: what arrived is taken when somebody
 * asks for it. What the sockets' buffers cannot hold meanwhile is lost; who claims an address does so again.
 */
import { type ArpPacket, decodeArp } from "../../../lib/arp/packet.ts";
import { arpBufferBytes, type PacketSocket } from "./packet-socket.ts";

/** Packets taken from one link at a time: about 10 ms. What is left waits for the next time. */
const maxPackets = 2_048;

export class ArpListener {
  readonly #openSocket: (linkIndex: number) => PacketSocket;
  /** By the link's index: a link that was made anew is another. */
  readonly #sockets = new Map<number, PacketSocket>();
  readonly #buffer = new Uint8Array(arpBufferBytes);

  constructor(openSocket: (linkIndex: number) => PacketSocket) {
    this.#openSocket = openSocket;
  }

  /** Begins to listen on those of the links that are new, and ceases on all others. Throws `internal` where no packet socket can be opened. */
  listenOn(linkIndexes: ReadonlySet<number>): void {
    for (const [index, socket] of this.#sockets) {
      if (linkIndexes.has(index)) continue;
      socket.close();
      this.#sockets.delete(index);
    }
    for (const index of linkIndexes)
      if (!this.#sockets.has(index)) this.#sockets.set(index, this.#openSocket(index));
  }

  /** What arrived on a link that is listened to since the last call. */
  *take(linkIndex: number): Generator<ArpPacket> {
    const socket = this.#sockets.get(linkIndex);
    if (socket === undefined) return;
    for (let count = 0; count < maxPackets; count++) {
      // A link that went down says so once, and then that nothing waits: either way there is no more for now.
      const length = socket.receive(this.#buffer);
      if (length < 0) return;
      const packet = decodeArp(this.#buffer.subarray(0, length));
      if (packet !== undefined) yield packet;
    }
  }

  close(): void {
    this.listenOn(new Set());
  }
}
