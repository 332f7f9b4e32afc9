/**
 * What packets were on the wire. The kernel hands large packets from layer to layer, and cuts them only where they leave
 * (GSO) or joins them where they arrive (GRO). Netfilter counts such a packet once, with one header.
 */
import type { Counted } from "./nftables/frame-messages.ts";

/** An IPv4 header, and a TCP header with timestamps. */
const headerBytes = 52;

/** The packets and bytes of IP in both directions, as the outside sees them. */
export interface Traffic {
  /** Towards the EIP. */
  readonly receive: Counted;
  readonly transmit: Counted;
}

/**
 * TCP cuts what it sends at full segments; only the end of a write is shorter, and is marked by PSH. So the segments of
 * packets without PSH are known, and each with PSH has half a segment more than its payload fills, on average.
 *
 * @param all every packet
 * @param large those of them that are longer than the MTU
 * @param pushed those of the large ones with PSH
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
