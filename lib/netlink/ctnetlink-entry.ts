/**
 * One entry of a conntrack dump, decoded in place.
 *
 * A table has hundreds of thousands of entries, of which a sweep needs a few. {@link ConntrackEntry.decode} reuses the
 * same fields for each entry and allocates nothing; {@link ConntrackEntry.toFlow} creates a value of those that are
 * needed.
 */
import type { Flow, FlowView } from "../conntrack/flow.ts";
import { GatewayError } from "../model/errors.ts";
import type { AddressValue, Family } from "../model/family.ts";
import { attributeEnd, attributeType, nextAttribute, payloadOf, requirePayload } from "./attributes.ts";
import {
  CTA_ID,
  CTA_PROTO_DST_PORT,
  CTA_PROTO_NUM,
  CTA_PROTO_SRC_PORT,
  CTA_PROTOINFO,
  CTA_PROTOINFO_TCP,
  CTA_PROTOINFO_TCP_STATE,
  CTA_STATUS,
  CTA_TUPLE_IP,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_PROTO,
  CTA_TUPLE_REPLY,
  CTA_TUPLE_ZONE,
  CTA_ZONE,
} from "./ctnetlink-attributes.ts";

/** Bytes of `struct nfgenmsg`, before the attributes. */
const familyHeaderLength = 4;

/** One direction while it is read. */
interface MutableTuple {
  source: AddressValue;
  destination: AddressValue;
  sourcePort: number;
  destinationPort: number;
  protocol: number;
  zone: number;
  icmpId: number;
  icmpType: number;
  icmpCode: number;
}

export class ConntrackEntry {
  /** The last decoded entry. If a zone applies to one direction only, it is that zone. */
  readonly view: FlowView;
  readonly #family: Family;
  readonly #original: MutableTuple;
  readonly #reply: MutableTuple;
  #id = 0;
  #tcpState = 0;

  constructor(family: Family) {
    this.#family = family;
    this.#original = emptyTuple(family);
    this.#reply = emptyTuple(family);
    this.view = {
      protocol: 0,
      zone: 0,
      status: 0,
      originalSource: family.zero,
      originalDestination: family.zero,
      originalSourcePort: 0,
      originalDestinationPort: 0,
      replySource: family.zero,
      replyDestination: family.zero,
      replySourcePort: 0,
      replyDestinationPort: 0,
      tcpState: 0,
    };
  }

  /** CTA_ID of the last decoded entry: the same as long as the flow lives. */
  get id(): number {
    return this.#id;
  }

  /** TCP_CONNTRACK_* of the last decoded entry, see nf_conntrack_tcp.h. 0 (none) if it is not a TCP flow. */
  get tcpState(): number {
    return this.#tcpState;
  }

  /**
   * Decodes an entry of the family from the message's payload, from `from` to `end`.
   *
   * @throws GatewayError `unreadable` if an attribute is truncated or a tuple, the status or the id is missing
   */
  decode(bytes: DataView, from: number, end: number): void {
    let seen = 0;
    let status = 0;
    let zone = 0;
    this.#tcpState = 0;
    for (let at = from + familyHeaderLength; at < end; at = nextAttribute(bytes, at, end)) {
      switch (attributeType(bytes, at)) {
        case CTA_TUPLE_ORIG:
          readTuple(this.#original, bytes, payloadOf(at), attributeEnd(bytes, at, end), this.#family);
          seen |= 1;
          break;
        case CTA_TUPLE_REPLY:
          readTuple(this.#reply, bytes, payloadOf(at), attributeEnd(bytes, at, end), this.#family);
          seen |= 2;
          break;
        case CTA_STATUS:
          status = bytes.getUint32(requirePayload(bytes, at, end, 4));
          seen |= 4;
          break;
        case CTA_ID:
          this.#id = bytes.getUint32(requirePayload(bytes, at, end, 4));
          seen |= 8;
          break;
        case CTA_PROTOINFO:
          this.#tcpState = readTcpState(bytes, payloadOf(at), attributeEnd(bytes, at, end));
          break;
        case CTA_ZONE:
          zone = bytes.getUint16(requirePayload(bytes, at, end, 2));
          break;
      }
    }
    if (seen !== 15)
      throw new GatewayError("unreadable", "a conntrack entry lacks a tuple, its status or its id");
    this.#fill(status, zone);
  }

  /** The last decoded entry as a value. */
  toFlow(): Flow {
    const { view } = this;
    const { format, icmp } = this.#family;
    const { icmpType: type, icmpCode: code, icmpId: id } = this.#original;
    return {
      protocol: view.protocol,
      original: {
        source: format(view.originalSource),
        destination: format(view.originalDestination),
        sourcePort: view.originalSourcePort,
        destinationPort: view.originalDestinationPort,
      },
      reply: {
        source: format(view.replySource),
        destination: format(view.replyDestination),
        sourcePort: view.replySourcePort,
        destinationPort: view.replyDestinationPort,
      },
      status: view.status,
      zone: view.zone,
      id: this.#id,
      ...(view.protocol === icmp ? { icmp: { type, code, id } } : {}),
    };
  }

  #fill(status: number, zone: number): void {
    const view = this.view;
    const original = this.#original;
    const reply = this.#reply;
    view.protocol = original.protocol;
    view.status = status;
    view.zone = zone || original.zone || reply.zone;
    view.originalSource = original.source;
    view.originalDestination = original.destination;
    view.originalSourcePort = original.sourcePort;
    view.originalDestinationPort = original.destinationPort;
    view.replySource = reply.source;
    view.replyDestination = reply.destination;
    view.replySourcePort = reply.sourcePort;
    view.replyDestinationPort = reply.destinationPort;
    view.tcpState = this.#tcpState;
  }
}

function emptyTuple({ zero }: Family): MutableTuple {
  return {
    source: zero,
    destination: zero,
    sourcePort: 0,
    destinationPort: 0,
    protocol: 0,
    zone: 0,
    icmpId: 0,
    icmpType: 0,
    icmpCode: 0,
  };
}

/** 0 if the attribute is about another protocol. */
function readTcpState(bytes: DataView, from: number, end: number): number {
  for (let at = from; at < end; at = nextAttribute(bytes, at, end)) {
    if (attributeType(bytes, at) !== CTA_PROTOINFO_TCP) continue;
    const inner = attributeEnd(bytes, at, end);
    for (let field = payloadOf(at); field < inner; field = nextAttribute(bytes, field, inner)) {
      if (attributeType(bytes, field) === CTA_PROTOINFO_TCP_STATE)
        return bytes.getUint8(requirePayload(bytes, field, inner, 1));
    }
  }
  return 0;
}

/** Protocols without ports leave them at 0. */
function readTuple(tuple: MutableTuple, bytes: DataView, from: number, end: number, family: Family): void {
  tuple.zone = 0;
  let seen = 0;
  for (let at = from; at < end; at = nextAttribute(bytes, at, end)) {
    switch (attributeType(bytes, at)) {
      case CTA_TUPLE_IP:
        readAddresses(tuple, bytes, payloadOf(at), attributeEnd(bytes, at, end), family);
        seen |= 1;
        break;
      case CTA_TUPLE_PROTO:
        readProtocol(tuple, bytes, payloadOf(at), attributeEnd(bytes, at, end), family);
        seen |= 2;
        break;
      case CTA_TUPLE_ZONE:
        tuple.zone = bytes.getUint16(requirePayload(bytes, at, end, 2));
        break;
    }
  }
  if (seen !== 3)
    throw new GatewayError("unreadable", "a conntrack tuple lacks its addresses or its protocol");
}

function readAddresses(
  tuple: MutableTuple,
  bytes: DataView,
  from: number,
  end: number,
  { addressBytes, conntrack, read, name }: Family,
): void {
  let seen = 0;
  for (let at = from; at < end; at = nextAttribute(bytes, at, end)) {
    switch (attributeType(bytes, at)) {
      case conntrack.source:
        tuple.source = read(bytes, requirePayload(bytes, at, end, addressBytes));
        seen |= 1;
        break;
      case conntrack.destination:
        tuple.destination = read(bytes, requirePayload(bytes, at, end, addressBytes));
        seen |= 2;
        break;
    }
  }
  if (seen !== 3) throw new GatewayError("unreadable", `a conntrack tuple lacks an ${name} address`);
}

function readProtocol(
  tuple: MutableTuple,
  bytes: DataView,
  from: number,
  end: number,
  { conntrack }: Family,
): void {
  tuple.sourcePort = 0;
  tuple.destinationPort = 0;
  for (let at = from; at < end; at = nextAttribute(bytes, at, end)) {
    switch (attributeType(bytes, at)) {
      case CTA_PROTO_NUM:
        tuple.protocol = bytes.getUint8(requirePayload(bytes, at, end, 1));
        break;
      case CTA_PROTO_SRC_PORT:
        tuple.sourcePort = bytes.getUint16(requirePayload(bytes, at, end, 2));
        break;
      case CTA_PROTO_DST_PORT:
        tuple.destinationPort = bytes.getUint16(requirePayload(bytes, at, end, 2));
        break;
      case conntrack.icmpId:
        tuple.icmpId = bytes.getUint16(requirePayload(bytes, at, end, 2));
        break;
      case conntrack.icmpType:
        tuple.icmpType = bytes.getUint8(requirePayload(bytes, at, end, 1));
        break;
      case conntrack.icmpCode:
        tuple.icmpCode = bytes.getUint8(requirePayload(bytes, at, end, 1));
        break;
    }
  }
}
