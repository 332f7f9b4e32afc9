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
 * @param all every packet
 * @param large those of them that are longer than the MTU
 * @param mtu of the wire
 */
export function onTheWire(all: Counted, large: Counted, mtu: number): Counted {
  const payload = Math.max(large.bytes - headerBytes * large.packets, 0);
  const segments = Math.max(Math.ceil(payload / (mtu - headerBytes)), large.packets);
  return {
    packets: all.packets - large.packets + segments,
    bytes: all.bytes + headerBytes * (segments - large.packets),
  };
}
