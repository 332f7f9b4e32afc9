/** One packet on its way through the gateway, and how a rule sees it. */
import type { Family } from "../model/family.ts";
import type { Ip } from "../model/ip.ts";
import type { InterfaceName } from "../model/names.ts";
import type { Range } from "../netfilter/chain.ts";
import type { Packets } from "../netfilter/walk.ts";
import type { ExplainedProtocol, PacketEnds } from "./explanation.ts";

export interface Packet {
  readonly in: InterfaceName;
  /** `undefined` before routing. */
  readonly out: InterfaceName | undefined;
  /** `undefined`: any host outside. */
  readonly source: Ip | undefined;
  readonly sourcePort: number | undefined;
  readonly destination: Ip;
  readonly destinationPort: number | undefined;
  readonly protocol: ExplainedProtocol;
  /** What conntrack says of it. `invalid`: an answer to a packet that it did not see. */
  readonly state: "new" | "established" | "invalid";
  /** The destination before any translation. */
  readonly originalDestination: Ip;
  /** True if its destination was translated. */
  readonly isRedirected: boolean;
  /** True with the mark 0x1 of packets from the VPC. */
  readonly isMarked: boolean;
}

export interface Endpoint {
  readonly address: Ip;
  /** `undefined`: unchanged, or drawn at random. */
  readonly port: number | undefined;
}

/** As lib/netfilter follows it. */
export function packetsOf(packet: Packet, { toValue }: Family): Packets {
  const address = (ip: Ip | undefined): Range | undefined => {
    if (ip === undefined) return undefined;
    const value = Number(toValue(ip));
    return [value, value];
  };
  const port = (number: number | undefined): Range | undefined =>
    number === undefined ? undefined : [number, number];
  return {
    in: packet.in,
    out: packet.out,
    source: address(packet.source),
    destination: address(packet.destination),
    protocol: packet.protocol,
    sourcePort: port(packet.sourcePort),
    destinationPort: port(packet.destinationPort),
    state: packet.state,
  };
}

export function endsOf({ source, sourcePort, destination, destinationPort }: Packet): PacketEnds {
  return {
    ...(source !== undefined && { source }),
    ...(sourcePort !== undefined && { sourcePort }),
    destination,
    ...(destinationPort !== undefined && { destinationPort }),
  };
}

/** The answer to a packet. */
export function answerEnds({ source, sourcePort, destination, destinationPort }: PacketEnds): PacketEnds {
  return {
    ...(destination !== undefined && { source: destination }),
    ...(destinationPort !== undefined && { sourcePort: destinationPort }),
    ...(source !== undefined && { destination: source }),
    ...(sourcePort !== undefined && { destinationPort: sourcePort }),
  };
}

export function endpointText({ address, port }: Endpoint, family: Family): string {
  return port === undefined ? address : family.endpoint(address, port);
}
