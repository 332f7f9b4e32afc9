/** Decoders of netlink messages: mutated requests of our own, and random trees of attributes. */

import { decodeArp } from "../../../lib/arp/packet.ts";
import { ipv4 } from "../../../lib/model/ipv4.ts";
import { policyChains } from "../../../lib/netfilter/policy-chains.ts";
import {
  bytesAttribute,
  nestedAttribute,
  u16Attribute,
  u32Attribute,
} from "../../../lib/netlink/attributes.ts";
import {
  CTA_ID,
  CTA_PROTO_DST_PORT,
  CTA_PROTO_NUM,
  CTA_PROTO_SRC_PORT,
  CTA_STATUS,
  CTA_TUPLE_IP,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_PROTO,
  CTA_TUPLE_REPLY,
} from "../../../lib/netlink/ctnetlink-attributes.ts";
import { ConntrackEntry } from "../../../lib/netlink/ctnetlink-entry.ts";
import {
  forEachMessage,
  parseAcknowledgement,
  parseDone,
  parseErrorOffset,
} from "../../../lib/netlink/message.ts";
import { decodeAddress } from "../../../lib/netlink/rtnetlink-addresses.ts";
import { decodeNamedLink } from "../../../lib/netlink/rtnetlink-alternative-names.ts";
import { decodeLink } from "../../../lib/netlink/rtnetlink-links.ts";
import { decodeNeighbourState } from "../../../lib/netlink/rtnetlink-neighbours.ts";
import { decodeRoute } from "../../../lib/netlink/rtnetlink-routes.ts";
import { decodePolicyRule } from "../../../lib/netlink/rtnetlink-rules.ts";
import { decodePolicy } from "../../../lib/netlink/xfrm-policies.ts";
import { decodeChain, decodeRule, decodeTable } from "../../../lib/nftables/chains.ts";
import { readCounters } from "../../../lib/nftables/counters.ts";
import { BackendsReader, DrawnReader } from "../../../lib/nftables/decode-backends.ts";
import { forEachElement } from "../../../lib/nftables/decode-elements.ts";
import { forEachClass, forEachLimit } from "../../../lib/nftables/decode-qos.ts";
import { DefinitionReader } from "../../../lib/nftables/definition-lines.ts";
import { mapNames } from "../../../lib/nftables/maps.ts";
import { readHandle } from "../../../lib/nftables/rule-handles.ts";
import { messageType } from "../../../lib/nftables/wire.ts";
import { decodeFilter } from "../../../lib/tc/filter.ts";
import { decodeClass } from "../../../lib/tc/htb-class.ts";
import { decodeLimitFilter } from "../../../lib/tc/limit-filter.ts";
import { decodeQdisc } from "../../../lib/tc/qdisc.ts";
import { encodePolicy, policyOf, templateOf } from "../policies.ts";
import { below, mutateBytes, pick, type Random } from "./mutate.ts";
import { bytesTarget, type Target } from "./target.ts";

/** A message of the kernel's shape: a header of `headerBytes`, then attributes, some of them nested. */
function messageOf(random: Random, headerBytes: number): Uint8Array {
  const header = Uint8Array.from({ length: headerBytes }, () =>
    random() < 0.5 ? 0 : pick(random, [2, 1, 4, 10, 24, 32, 254, below(random, 256)]),
  );
  header[0] = random() < 0.8 ? ipv4.number : (header[0] ?? 0);
  const whole = Buffer.concat([header, attributes(random, 3)]);
  return random() < 0.5 ? whole : mutateBytes(random, [whole]);
}

const texts = [
  "natgw",
  "fip_in",
  "eth0",
  "net1",
  "lookup",
  "immediate",
  "nat",
  "payload",
  "counter",
  "cmp",
  "htb",
];

function attributes(random: Random, depth: number): Buffer {
  return Buffer.concat(
    Array.from({ length: below(random, 6) }, () =>
      attribute(random, below(random, 26) + (depth < 3 ? 0 : 1), depth),
    ),
  );
}

function attribute(random: Random, type: number, depth: number): Buffer {
  const payload =
    depth > 0 && random() < 0.4
      ? attributes(random, depth - 1)
      : random() < 0.3
        ? Buffer.from(`${pick(random, texts)}\0`)
        : Buffer.from(
            Array.from({ length: pick(random, [0, 1, 2, 4, 4, 4, 8, 16, 20]) }, () => below(random, 256)),
          );
  const bytes = Buffer.alloc(4 + ((payload.length + 3) & ~3));
  bytes.writeUInt16LE(4 + payload.length, 0);
  bytes.writeUInt16LE(type | (random() < 0.1 ? 0x8000 : 0), 2);
  payload.copy(bytes, 4);
  return bytes;
}

/** Whole messages, one after the other, as a read returns them. */
function stream(random: Random): Uint8Array {
  const messages = Array.from({ length: 1 + below(random, 3) }, () => {
    const payload = messageOf(random, pick(random, [4, 8, 12, 16]));
    const bytes = Buffer.alloc(16 + ((payload.length + 3) & ~3));
    bytes.writeUInt32LE(16 + payload.length, 0);
    bytes.writeUInt16LE(pick(random, [2, 3, 4, 16, ...Object.values(messageType)]), 4);
    bytes.writeUInt16LE(pick(random, [0, 2, 0x10, 0x100, 0x200, 0x300]), 6);
    bytes.set(payload, 16);
    return bytes;
  });
  const whole = Buffer.concat(messages);
  return random() < 0.5 ? whole : mutateBytes(random, [whole]);
}

/** An entry of conntrack as the kernel sends it. */
function entry(random: Random): Uint8Array {
  const tuple = (type: number) =>
    nestedAttribute(
      type,
      nestedAttribute(
        CTA_TUPLE_IP,
        u32Attribute(1, below(random, 2 ** 32)),
        u32Attribute(2, below(random, 2 ** 32)),
      ),
      nestedAttribute(
        CTA_TUPLE_PROTO,
        bytesAttribute(CTA_PROTO_NUM, Uint8Array.of(pick(random, [1, 6, 17, 132, 47]))),
        u16Attribute(CTA_PROTO_SRC_PORT, below(random, 65_536)),
        u16Attribute(CTA_PROTO_DST_PORT, below(random, 65_536)),
      ),
    );
  const whole = Buffer.concat([
    Uint8Array.of(ipv4.number, 0, 0, 0),
    tuple(CTA_TUPLE_ORIG),
    tuple(CTA_TUPLE_REPLY),
    u32Attribute(CTA_STATUS, below(random, 2 ** 32)),
    u32Attribute(CTA_ID, below(random, 2 ** 32)),
    attributes(random, 1),
  ]);
  return random() < 0.3 ? whole : mutateBytes(random, [whole]);
}

/** An IPsec policy, with what the kernel may send behind it. */
function policy(random: Random): Uint8Array {
  const whole = Buffer.concat([
    encodePolicy(
      policyOf(`${pick(random, ["in", "out", "fwd"])} 10.0.0.0/8 > 0.0.0.0/0`, {
        protocol: pick(random, [0, 1, 6, 50]),
        mark: { value: below(random, 2 ** 32), mask: below(random, 2 ** 32) },
        templates: random() < 0.5 ? [] : [templateOf(random() < 0.5)],
      }),
    ),
    attributes(random, 1),
  ]);
  return random() < 0.3 ? whole : mutateBytes(random, [whole]);
}

const types = Object.values(messageType);
const byBytes = (view: DataView) => types[view.byteLength % types.length] ?? messageType.newTable;

export const netlinkTargets: readonly Target[] = [
  bytesTarget("netlink stream", stream, (view, end) => {
    forEachMessage(view, end, ({ flags }, message, from, to) => {
      parseAcknowledgement(message, flags, from, to);
      parseErrorOffset(message, flags, from, to);
      parseDone(message, flags, from, to);
    });
  }),
  bytesTarget(
    "rtnetlink link",
    (random) => messageOf(random, 16),
    (view, end) => {
      decodeLink(view, 0, end, ipv4);
      decodeNamedLink(view, 0, end);
    },
  ),
  bytesTarget(
    "rtnetlink address",
    (random) => messageOf(random, 8),
    (view, end) => decodeAddress(view, 0, end, ipv4),
  ),
  bytesTarget(
    "rtnetlink route",
    (random) => messageOf(random, 12),
    (view, end) => decodeRoute(view, 0, end, ipv4),
  ),
  bytesTarget(
    "rtnetlink rule",
    (random) => messageOf(random, 12),
    (view, end) => decodePolicyRule(view, 0, end, ipv4),
  ),
  bytesTarget(
    "rtnetlink neighbour",
    (random) => messageOf(random, 12),
    (view, end) => decodeNeighbourState(view, 0, end),
  ),
  bytesTarget(
    "tc",
    (random) => messageOf(random, 20),
    (view, end) => {
      decodeQdisc(view, 0, end);
      decodeClass(view, 0, end);
      decodeFilter(view, 0, end);
      decodeLimitFilter(view, 0, end);
    },
  ),
  bytesTarget("IPsec policy", policy, (view, end) => {
    const policy = decodePolicy(view, 0, end, ipv4);
    const policies = policy === undefined ? [] : [policy];
    policyChains({ policies, defaultBlocks: { in: true, fwd: true, out: true } }, () => "net1");
  }),
  bytesTarget("conntrack entry", entry, (view, end) => {
    const entry = new ConntrackEntry(ipv4);
    entry.decode(view, 0, end);
    entry.toFlow();
  }),
  bytesTarget(
    "nftables chains",
    (random) => messageOf(random, 4),
    (view, end) => {
      for (const type of [messageType.newTable, messageType.newChain, messageType.newRule]) {
        decodeTable(type, view, 0, end);
        decodeChain(type, view, 0, end);
        decodeRule(type, view, 0, end);
      }
      readHandle(view, 0, end);
    },
  ),
  bytesTarget(
    "nftables definition",
    (random) => messageOf(random, 4),
    (view, end) => {
      for (const type of types) {
        const reader = new DefinitionReader("natgw");
        reader.read(type, view, 0, end);
        if (reader.lines?.length === 0) throw new Error("a table without a line");
      }
    },
  ),
  bytesTarget(
    "nftables backends",
    (random) => messageOf(random, 4),
    (view, end) => {
      const reader = new BackendsReader();
      reader.read(byBytes(view), view, 0, end);
      reader.chains(new Map());
      const drawn = new DrawnReader();
      drawn.read(messageType.newElements, view, 0, end);
      if (!Array.isArray(drawn.drawn.backends)) throw new Error("no list of backends");
    },
  ),
  bytesTarget(
    "nftables elements",
    (random) => messageOf(random, 4),
    (view, end) => {
      const visit = (key: string, value: string) => {
        if (typeof key !== "string" || typeof value !== "string")
          throw new Error("an element that is no text");
      };
      for (const map of mapNames) forEachElement(map, view, 0, end, visit);
      forEachClass(view, 0, end, visit);
      forEachLimit(view, 0, end, visit);
    },
  ),
  bytesTarget(
    "nftables counters",
    (random) => messageOf(random, 4),
    (view, end) => readCounters(messageType.newObject, view, 0, end, "natgw", new Map()),
  ),
  bytesTarget(
    "arp",
    (random) => messageOf(random, pick(random, [14, 28, 42])),
    (view, end) => decodeArp(new Uint8Array(view.buffer, view.byteOffset, end)),
  ),
];
