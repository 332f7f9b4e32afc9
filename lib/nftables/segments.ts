/**
 * What packets were on the wire. The kernel hands large packets from layer to layer, and cuts them only where they leave
 * (GSO) or joins them where they arrive (GRO). Netfilter counts such a packet once, with one header.
 */
import type { Counted } from "./definition-messages.ts";

/** An IPv4 header, and a TCP header with timestamps. */
const headerBytes = 52;
/** The same without timestamps. */
const shortHeaderBytes = 40;
const maxPacketBytes = 0xffff;
/** A packet of more segments is off by less than 0.2 % if it counts as one with a short end. */
const maxSegments = 256;

/**
 * The lengths of packets of TCP that are two or more full segments on the wire, with timestamps and without.
 *
 * @param mtu of the wire
 */
export function fullLengths(mtu: number): ReadonlySet<number> {
  const lengths = [headerBytes, shortHeaderBytes].flatMap((header) => {
    const payload = mtu - header;
    const most = Math.min(maxSegments, Math.floor((maxPacketBytes - header) / payload));
    return Array.from({ length: Math.max(most - 1, 0) }, (_, at) => header + (at + 2) * payload);
  });
  return new Set(lengths);
}

/** The packets and bytes of IP in both directions, as the outside sees them. */
export interface Traffic {
  /** Towards the EIP. */
  readonly receive: Counted;
  readonly transmit: Counted;
}

/**
 * TCP cuts what it sends at full segments; only the end of a write may be shorter, and is marked by PSH. Such a packet has
 * half a segment more than its payload fills, on average. The segments of all others are known.
 *
 * @param all every packet
 * @param large those of them that are longer than the MTU
 * @param pushed those of the large ones with PSH that end in a short segment, see {@link fullLengths}
 * @param mtu of the wire
 */
export function onTheWire(all: Counted, large: Counted, pushed: Counted, mtu: number): Counted {
  const payload = Math.max(large.bytes - headerBytes * large.packets, 0);
  const filled = payload / (mtu - headerBytes) + pushed.packets / 2;
  const segments = Math.max(Math.round(filled), large.packets);
  return {
    packets: all.packets - large.packets + segments,
    bytes: all.bytes + headerBytes * (segments - large.packets),
  };
}
