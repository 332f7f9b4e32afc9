/** Captures and forges IPv4 packets on a host's link: also segments that no TCP would send. */
import { close, errnoName, libcFunction, sendto, socket } from "../../agent/kernel/libc.ts";
import { enterNamespace } from "./enter-namespace.ts";
import { readLink } from "./links.ts";
import { until } from "./run.ts";

/** A TCP segment. */
export interface Segment {
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: readonly Flag[];
  /** Bytes of data. */
  readonly length: number;
}

const flagBits = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;
export type Flag = keyof typeof flagBits;

export class RawLink {
  readonly #fd: number;
  readonly #index: number;
  readonly #seen: Segment[] = [];

  private constructor(fd: number, index: number) {
    this.#fd = fd;
    this.#index = index;
  }

  /** Captures all IPv4 packets in both directions from now on. */
  static async open(namespace: string, link: string): Promise<RawLink> {
    const { ifindex } = await readLink(namespace, link);
    const leave = enterNamespace(namespace);
    const fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, ETH_P_ALL << 8);
    leave();
    if (fd < 0) throw new Error(`no packet socket: ${errnoName(-fd)}`);
    return new RawLink(fd, ifindex);
  }

  /** Sends to the host with this MAC. */
  send(segment: Segment, mac: string): void {
    const packet = encode(segment);
    const to = linkAddress(this.#index, mac);
    const sent = sendto(this.#fd, packet, packet.length, 0, to, to.length);
    if (sent < 0) throw new Error(`a packet was not sent: ${errnoName(-sent)}`);
  }

  /** Every TCP segment on the link so far. */
  get seen(): readonly Segment[] {
    const buffer = new Uint8Array(65_536);
    for (let length = this.#receive(buffer); length > 0; length = this.#receive(buffer)) {
      const segment = decode(buffer, length);
      if (segment !== undefined) this.#seen.push(segment);
    }
    return this.#seen;
  }

  /** The first segment for which `matches` holds, once it is there. */
  async find(what: string, matches: (segment: Segment) => boolean): Promise<Segment> {
    await until(what, async () => this.seen.some(matches));
    const found = this.seen.find(matches);
    if (found === undefined) throw new Error(what);
    return found;
  }

  close(): void {
    close(this.#fd);
  }

  #receive(buffer: Uint8Array): number {
    return recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT);
  }
}

function encode(segment: Segment): Uint8Array {
  const packet = new Uint8Array(40);
  const view = new DataView(packet.buffer);
  view.setUint8(0, 0x45);
  view.setUint16(2, packet.length);
  view.setUint8(8, 64);
  view.setUint8(9, 6);
  packet.set(bytesOf(segment.source), 12);
  packet.set(bytesOf(segment.destination), 16);
  view.setUint16(10, checksum(packet.subarray(0, 20), 0));
  view.setUint16(20, segment.sourcePort);
  view.setUint16(22, segment.destinationPort);
  view.setUint32(24, segment.sequence >>> 0);
  view.setUint32(28, segment.acknowledgement >>> 0);
  view.setUint8(32, 0x50);
  view.setUint8(
    33,
    segment.flags.reduce((bits, flag) => bits | flagBits[flag], 0),
  );
  view.setUint16(34, 64_240);
  // The pseudo header: both addresses, the protocol and the length.
  view.setUint16(36, checksum(packet.subarray(12), 6 + 20));
  return packet;
}

function decode(bytes: Uint8Array, length: number): Segment | undefined {
  const view = new DataView(bytes.buffer, 0, length);
  if (length < 40 || view.getUint8(0) >> 4 !== 4 || view.getUint8(9) !== 6) return undefined;
  const at = (view.getUint8(0) & 15) * 4;
  const bits = view.getUint8(at + 13);
  const address = (from: number) => [...bytes.subarray(from, from + 4)].join(".");
  return {
    source: address(12),
    sourcePort: view.getUint16(at),
    destination: address(16),
    destinationPort: view.getUint16(at + 2),
    sequence: view.getUint32(at + 4),
    acknowledgement: view.getUint32(at + 8),
    flags: (Object.keys(flagBits) as Flag[]).filter((flag) => (bits & flagBits[flag]) !== 0),
    length: view.getUint16(2) - at - (view.getUint8(at + 12) >> 4) * 4,
  };
}

function bytesOf(address: string): number[] {
  return address.split(".").map(Number);
}

function checksum(bytes: Uint8Array, start: number): number {
  let sum = start;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** `struct sockaddr_ll`. */
function linkAddress(index: number, mac: string): Uint8Array {
  const address = new Uint8Array(20);
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setUint16(2, ETH_P_IP);
  view.setInt32(4, index, true);
  address[11] = 6;
  address.set(
    mac.split(":").map((byte) => Number.parseInt(byte, 16)),
    12,
  );
  return address;
}

const recv = libcFunction<[fd: number, buffer: Uint8Array, length: number, flags: number]>(
  "long recv(int, void *, size_t, int)",
);
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const ETH_P_ALL = 3;
const ETH_P_IP = 0x0800;
const MSG_DONTWAIT = 0x40;
