/**
 * Receives ARP packets of other hosts without probing (RFC 5227 §2.4). The sockets are read only when a caller asks.
 * Packets that exceed the socket's buffer are lost; a host that claims an address repeats it.
 */
import { type ArpPacket, decodeArp } from "../../../lib/arp/packet.ts";
import { arpBufferBytes, type PacketSocket } from "./packet-socket.ts";

/** Packets read from one link at a time: about 10 ms. The rest is read next time. */
const maxPackets = 2_048;

export class ArpListener {
  readonly #openSocket: (linkIndex: number) => PacketSocket;
  /** By link index: a recreated link has another index. */
  readonly #sockets = new Map<number, PacketSocket>();
  readonly #buffer = new Uint8Array(arpBufferBytes);

  constructor(openSocket: (linkIndex: number) => PacketSocket) {
    this.#openSocket = openSocket;
  }

  /**
   * Starts listening on new links and stops on links not in the set. Throws `internal` if no packet socket can be
   * opened.
   */
  listenOn(linkIndexes: ReadonlySet<number>): void {
    for (const [index, socket] of this.#sockets) {
      if (linkIndexes.has(index)) continue;
      socket.close();
      this.#sockets.delete(index);
    }
    for (const index of linkIndexes)
      if (!this.#sockets.has(index)) this.#sockets.set(index, this.#openSocket(index));
  }

  /** The packets that arrived on a link since the last call. */
  *take(linkIndex: number): Generator<ArpPacket> {
    const socket = this.#sockets.get(linkIndex);
    if (socket === undefined) return;
    for (let count = 0; count < maxPackets; count++) {
      // A link that went down reports that once, then EAGAIN. In both cases there is nothing more to read now.
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
