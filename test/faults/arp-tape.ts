/** Records every ARP packet that a host receives on a link, with its time; and sends packets on that link. */
import { setTimeout as delay } from "node:timers/promises";
import {
  arpBufferBytes,
  openArpSocket,
  type PacketSocket,
} from "../../agent/kernel/announcer/packet-socket.ts";
import { type ArpPacket, decodeArp, encodeArp } from "../../lib/arp/packet.ts";
import { enterNamespace } from "../support/enter-namespace.ts";
import { readLink } from "../support/links.ts";

export interface HeardPacket extends ArpPacket {
  readonly atMs: number;
}

const pollMs = 5;

export class ArpTape {
  readonly heard: HeardPacket[] = [];
  readonly #socket: PacketSocket;
  readonly #onPacket: ((packet: ArpPacket) => void)[] = [];
  readonly #done: Promise<void>;
  #isRunning = true;

  private constructor(socket: PacketSocket) {
    this.#socket = socket;
    this.#done = this.#listen();
  }

  static async start(namespace: string, link: string): Promise<ArpTape> {
    const { ifindex } = await readLink(namespace, link);
    const leave = enterNamespace(namespace);
    let socket: PacketSocket;
    try {
      socket = openArpSocket(ifindex, "receive");
    } finally {
      leave();
    }
    await socket.opened;
    return new ArpTape(socket);
  }

  /** Calls the listener for every packet from now on. */
  onPacket(listener: (packet: ArpPacket) => void): void {
    this.#onPacket.push(listener);
  }

  /** Broadcasts a packet with any sender. */
  say(packet: ArpPacket): void {
    const result = this.#socket.broadcast(encodeArp(packet));
    if (result < 0) throw new Error(`errno ${-result}`);
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#done;
    this.#socket.close();
  }

  async #listen(): Promise<void> {
    const buffer = new Uint8Array(arpBufferBytes);
    while (this.#isRunning) {
      for (let length = this.#socket.receive(buffer); length >= 0; length = this.#socket.receive(buffer)) {
        const packet = decodeArp(buffer.subarray(0, length));
        if (packet === undefined) continue;
        this.heard.push({ ...packet, atMs: performance.now() });
        for (const listener of this.#onPacket) listener(packet);
      }
      await delay(pollMs);
    }
  }
}
