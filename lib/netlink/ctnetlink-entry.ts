/**
 * One entry of a conntrack dump, decoded in place.
 *
 * A table holds hundreds of thousands of entries of which a sweep wants a few: {@link ConntrackEntry.decode} fills the same
 * numbers anew for each and allocates nothing, {@link ConntrackEntry.toFlow} makes a value of those that matter.
 */
import type { Flow, FlowView } from "../conntrack/flow.ts";
import { GatewayError } from "../model/errors.ts";
import { fromU32 } from "../model/ipv4.ts";
import { attributeEnd, attributeType, nextAttribute, payloadOf, requirePayload } from "./attributes.ts";
import {
  CTA_ID,
  CTA_IP_V4_DST,
  CTA_IP_V4_SRC,
  CTA_PROTO_DST_PORT,
  CTA_PROTO_ICMP_CODE,
  CTA_PROTO_ICMP_ID,
  CTA_PROTO_ICMP_TYPE,
  CTA_PROTO_NUM,
  CTA_PROTO_SRC_PORT,
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
const IPPROTO_ICMP = 1;

/** One direction as it is read. */
interface MutableTuple {
  source: number;
  destination: number;
  sourcePort: number;
  destinationPort: number;
  protocol: number;
  zone: number;
  icmpId: number;
  icmpType: number;
  icmpCode: number;
}

export class ConntrackEntry {
  /** The entry decoded last. Of a zone that holds in one direction only, that zone. */
  readonly view: FlowView = {
    protocol: 0,
    zone: 0,
    status: 0,
    originalSource: 0,
    originalDestination: 0,
    originalSourcePort: 0,
    originalDestinationPort: 0,
    replySource: 0,
    replyDestination: 0,
    replySourcePort: 0,
    replyDestinationPort: 0,
  };
  readonly #original = emptyTuple();
  readonly #reply = emptyTuple();
  #id = 0;

  /**
   * Reads an IPv4 entry from `from` to `end`, the message's payload.
   *
   * @throws GatewayError `unreadable` where an attribute is cut short or a tuple, the status or the id is missing.
   */
  decode(bytes: DataView, from: number, end: number): void {
    let seen = 0;
    let status = 0;
    let zone = 0;
    for (let at = from + familyHeaderLength; at < end; at = nextAttribute(bytes, at, end)) {
      switch (attributeType(bytes, at)) {
        case CTA_TUPLE_ORIG:
          readTuple(this.#original, bytes, payloadOf(at), attributeEnd(bytes, at, end));
          seen |= 1;
          break;
        case CTA_TUPLE_REPLY:
          readTuple(this.#reply, bytes, payloadOf(at), attributeEnd(bytes, at, end));
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
        case CTA_ZONE:
          zone = bytes.getUint16(requirePayload(bytes, at, end, 2));
          break;
      }
    }
    if (seen !== 15)
      throw new GatewayError("unreadable", "a conntrack entry lacks a tuple, its status or its id");
    this.#fill(status, zone);
  }

  /** A value of the entry decoded last. */
  toFlow(): Flow {
    const { view } = this;
    const { icmpType: type, icmpCode: code, icmpId: id } = this.#original;
    return {
      protocol: view.protocol,
      original: {
        source: fromU32(view.originalSource),
        destination: fromU32(view.originalDestination),
        sourcePort: view.originalSourcePort,
        destinationPort: view.originalDestinationPort,
      },
      reply: {
        source: fromU32(view.replySource),
        destination: fromU32(view.replyDestination),
        sourcePort: view.replySourcePort,
        destinationPort: view.replyDestinationPort,
      },
      status: view.status,
      zone: view.zone,
      id: this.#id,
      ...(view.protocol === IPPROTO_ICMP ? { icmp: { type, code, id } } : {}),
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
  }
}

function emptyTuple(): MutableTuple {
  return {
    source: 0,
    destination: 0,
    sourcePort: 0,
    destinationPort: 0,
    protocol: 0,
    zone: 0,
    icmpId: 0,
    icmpType: 0,
    icmpCode: 0,
  };
}

/** Protocols without ports leave them 0. */
function readTuple(tuple: MutableTuple, bytes: DataView, from: number, end: number): void {
  tuple.zone = 0;
  let seen = 0;
  for (let at = from; at < end; at = nextAttribute(bytes, at, end)) {
    switch (attributeType(bytes, at)) {
      case CTA_TUPLE_IP:
        readAddresses(tuple, bytes, payloadOf(at), attributeEnd(bytes, at, end));
        seen |= 1;
        break;
      case CTA_TUPLE_PROTO:
        readProtocol(tuple, bytes, payloadOf(at), attributeEnd(bytes, at, end));
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

function readAddresses(tuple: MutableTuple, bytes: DataView, from: number, end: number): void {
  let seen = 0;
  for (let at = from; at < end; at = nextAttribute(bytes, at, end)) {
    switch (attributeType(bytes, at)) {
      case CTA_IP_V4_SRC:
        tuple.source = bytes.getUint32(requirePayload(bytes, at, end, 4));
        seen |= 1;
        break;
      case CTA_IP_V4_DST:
        tuple.destination = bytes.getUint32(requirePayload(bytes, at, end, 4));
        seen |= 2;
        break;
    }
  }
  if (seen !== 3) throw new GatewayError("unreadable", "a conntrack tuple lacks an IPv4 address");
}

function readProtocol(tuple: MutableTuple, bytes: DataView, from: number, end: number): void {
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
      case CTA_PROTO_ICMP_ID:
        tuple.icmpId = bytes.getUint16(requirePayload(bytes, at, end, 2));
        break;
      case CTA_PROTO_ICMP_TYPE:
        tuple.icmpType = bytes.getUint8(requirePayload(bytes, at, end, 1));
        break;
      case CTA_PROTO_ICMP_CODE:
        tuple.icmpCode = bytes.getUint8(requirePayload(bytes, at, end, 1));
        break;
    }
  }
}
