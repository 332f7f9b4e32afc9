/** Fills the conntrack table of a gateway with flows through SNAT, by raw netlink: tens of thousands a second. */
import { NETLINK_NETFILTER, openNetlink } from "../../agent/kernel/netlink/connection.ts";
import { openNetlinkSocket } from "../../agent/kernel/netlink/socket.ts";
import { flowStatus } from "../../lib/conntrack/flow.ts";
import { ipv4, parseIp, toU32 } from "../../lib/model/ipv4.ts";
import {
  concatBytes,
  nestedAttribute,
  netU16Attribute,
  netU32Attribute,
  u8Attribute,
} from "../../lib/netlink/attributes.ts";
import {
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
} from "../../lib/netlink/ctnetlink-attributes.ts";
import { messageFlag, type NetlinkMessage } from "../../lib/netlink/message.ts";
import { enterNamespace } from "./enter-namespace.ts";

/** TCP_CONNTRACK_* of nf_conntrack_tcp.h. */
export const tcpState = { established: 3, timeWait: 7 } as const;

/** TCP flows of a client to one destination, each from the next port of client and EIP. */
export interface OutwardFlows {
  readonly client: string;
  readonly destination: string;
  readonly port: number;
  readonly eip: string;
  readonly firstPort: number;
  readonly count: number;
  readonly state: number;
}

export async function injectFlows(namespace: string, ...flows: readonly OutwardFlows[]): Promise<void> {
  const leave = enterNamespace(namespace);
  const netlink = openNetlink(NETLINK_NETFILTER, {
    open: (protocol) => openNetlinkSocket(protocol),
  });
  try {
    for (const some of flows) {
      for (let from = 0; from < some.count; from += atOnce) {
        const messages = Array.from({ length: Math.min(atOnce, some.count - from) }, (_, index) =>
          newEntry(some, some.firstPort + from + index),
        );
        const errors = await netlink.batch(messages, AbortSignal.timeout(60_000));
        const refused = errors.filter((error) => error !== undefined);
        if (refused.length > 0) throw new Error(`${refused.length} flows not made: ${refused[0]?.message}`);
      }
    }
  } finally {
    netlink.close();
    leave();
  }
}

const atOnce = 10_000;
const lifetimeSeconds = 3_600;
const tcp = 6;
/** IPS_CONFIRMED. */
const confirmed = 1 << 3;
const CTA_TIMEOUT = 7;

function newEntry({ client, destination, port, eip, state }: OutwardFlows, own: number): NetlinkMessage {
  return {
    type: 0x100,
    flags: messageFlag.create | messageFlag.exclusive,
    payload: concatBytes(
      ipv4.netfilterHeader,
      tuple(CTA_TUPLE_ORIG, client, own, destination, port),
      tuple(CTA_TUPLE_REPLY, destination, port, eip, own),
      netU32Attribute(CTA_STATUS, flowStatus.seenReply | flowStatus.assured | confirmed),
      netU32Attribute(CTA_TIMEOUT, lifetimeSeconds),
      nestedAttribute(
        CTA_PROTOINFO,
        nestedAttribute(CTA_PROTOINFO_TCP, u8Attribute(CTA_PROTOINFO_TCP_STATE, state)),
      ),
    ),
  };
}

function tuple(type: number, source: string, sourcePort: number, destination: string, port: number) {
  return nestedAttribute(
    type,
    nestedAttribute(
      CTA_TUPLE_IP,
      netU32Attribute(ipv4.conntrack.source, number(source)),
      netU32Attribute(ipv4.conntrack.destination, number(destination)),
    ),
    nestedAttribute(
      CTA_TUPLE_PROTO,
      u8Attribute(CTA_PROTO_NUM, tcp),
      netU16Attribute(CTA_PROTO_SRC_PORT, sourcePort),
      netU16Attribute(CTA_PROTO_DST_PORT, port),
    ),
  );
}

function number(text: string): number {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(`no address: ${text}`);
  return toU32(address);
}
