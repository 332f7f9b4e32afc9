/** Filters of traffic control and XDP programs, from the kernel's messages to what they do to packets. */
import t from "tap";
import { toU32 } from "../../../../lib/model/ipv4.ts";
import { filterChains, qdiscChain, xdpChain } from "../../../../lib/netfilter/device-programs.ts";
import { type Packets, walk } from "../../../../lib/netfilter/walk.ts";
import {
  bytesAttribute,
  concatBytes,
  nestedAttribute,
  textAttribute,
  u8Attribute,
  u32Attribute,
} from "../../../../lib/netlink/attributes.ts";
import { linkHeader } from "../../../../lib/netlink/rtnetlink-links.ts";
import { decodeLinkPrograms } from "../../../../lib/netlink/rtnetlink-xdp.ts";
import { decodeFilter, type Filter } from "../../../../lib/tc/filter.ts";
import { alone } from "../../../support/netfilter.ts";
import { toIp } from "../../../support/network-values.ts";

const ipValue = (text: string) => toU32(toIp(text));
const protocols = { all: 0x0003, ip: 0x0800, arp: 0x0806 } as const;

/** `struct tc_u32_sel` with keys of mask, value and offset. */
function selector(...keys: readonly (readonly [mask: number, value: number, offset: number])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(16 + keys.length * 16));
  view.setUint8(2, keys.length);
  keys.forEach(([mask, value, offset], at) => {
    view.setUint32(16 + at * 16, mask);
    view.setUint32(16 + at * 16 + 4, value);
    view.setInt32(16 + at * 16 + 8, offset, true);
  });
  return bytesAttribute(5, new Uint8Array(view.buffer));
}

/** The parameters of an action: index, capabilities, verdict; of mirred also what it does with the packet. */
function action(order: number, kind: string, verdict: number, mirror = 0, device = 9): Uint8Array {
  const view = new DataView(new ArrayBuffer(28));
  view.setInt32(8, verdict, true);
  view.setInt32(20, mirror, true);
  view.setUint32(24, device, true);
  const options = nestedAttribute(2, bytesAttribute(2, new Uint8Array(view.buffer)));
  return nestedAttribute(order, textAttribute(1, kind), options);
}

interface Sent {
  readonly kind?: string;
  readonly preference?: number;
  readonly protocol?: number;
  readonly handle?: number;
  readonly chain?: number;
  readonly options?: readonly Uint8Array[];
}

function decode(sent: Sent): Filter | undefined {
  const {
    kind = "u32",
    preference = 10,
    protocol = protocols.ip,
    handle = 0x80000800,
    options,
    chain,
  } = sent;
  const header = new DataView(new ArrayBuffer(20));
  header.setUint32(8, handle, true);
  header.setUint16(16, ((protocol & 0xff) << 8) | (protocol >> 8), true);
  header.setUint16(18, preference, true);
  const bytes = concatBytes(
    new Uint8Array(header.buffer),
    textAttribute(1, kind),
    ...(chain === undefined ? [] : [u32Attribute(11, chain)]),
    ...(options === undefined ? [] : [nestedAttribute(2, ...options)]),
  );
  return decodeFilter(new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length);
}

const everything = [0, 0, 0] as const;
const drop = nestedAttribute(7, action(1, "gact", 2));

/** What happens to a packet from outside to an EIP, at the ingress of net1. */
function harmsTo(
  filters: readonly Sent[],
  more: Partial<Packets> = {},
  givesBack?: (index: number) => boolean,
): readonly string[] {
  const decoded = filters.map(decode).filter((filter) => filter !== undefined);
  const packets: Packets = {
    in: "net1",
    out: undefined,
    source: undefined,
    destination: [ipValue("203.0.113.10"), ipValue("203.0.113.10")],
    protocol: undefined,
    sourcePort: undefined,
    destinationPort: undefined,
    state: "new",
    ...more,
  };
  return filterChains("net1", "ingress", decoded, givesBack)
    .filter(({ hook }) => hook?.name === "ingress")
    .flatMap((chain) => walk(chain, packets, alone))
    .map(({ where, verb, isSure }) => `${where} ${isSure ? "" : "maybe "}${verb}`);
}

t.test("what filters do to packets of an EIP", async (t) => {
  const eip = ipValue("203.0.113.10");
  const place = "tc filter dev net1 ingress: pref 10";
  const cases: readonly (readonly [what: string, filters: readonly Sent[], expected: readonly RegExp[]])[] = [
    [
      "all is dropped",
      [{ options: [selector(everything), drop] }],
      [/ingress: pref 10 u32 match .* action gact drop drops$/],
    ],
    [
      "the EIP's packets are redirected",
      [{ options: [selector([0xffffffff, eip, 16]), nestedAttribute(7, action(1, "mirred", 4, 1))] }],
      [/match cb00710a\/ffffffff at 16 action mirred redirect takes$/],
    ],
    [
      "mirrored only",
      [{ options: [selector(everything), nestedAttribute(7, action(1, "mirred", 3, 2))] }],
      [],
    ],
    ["another EIP's packets", [{ options: [selector([0xffffffff, eip + 1, 16]), drop] }], []],
    ["those of one source", [{ options: [selector([0xffffff00, ipValue("198.51.100.0"), 12]), drop] }], []],
    ["one port", [{ options: [selector([0x00ff0000, 6 << 16, 8], [0xffff, 22, 20]), drop] }], []],
    [
      "a field that nobody knows",
      [{ options: [selector([0xff, 5, 4]), drop] }],
      [/pref 10 u32 .* maybe drops$/],
    ],
    [
      "another table of u32, where only a link leads",
      [{ handle: 0x80100800, options: [selector(everything), drop] }],
      [/pref 10 u32 action gact drop maybe drops$/],
    ],
    [
      "an earlier filter lets it pass",
      [
        { preference: 20, options: [selector(everything), drop] },
        { options: [selector(everything), nestedAttribute(7, action(1, "gact", 0))] },
      ],
      [],
    ],
    [
      "the first action continues",
      [
        {
          options: [selector(everything), nestedAttribute(7, action(2, "gact", 2), action(1, "skbedit", 3))],
        },
      ],
      [/action skbedit action gact drop maybe drops$/],
    ],
    ["a filter that only chooses a class", [{ options: [selector(everything)] }], []],
    ["a hash table", [{ handle: 0x80000000, options: [] }], []],
    ["a preference without filters", [{ handle: 0 }], []],
    [
      "matchall",
      [{ kind: "matchall", handle: 1, options: [nestedAttribute(2, action(1, "gact", 2))] }],
      [/matchall .* drops$/],
    ],
    [
      "another classifier",
      [{ kind: "flower", handle: 1, options: [nestedAttribute(3, action(1, "gact", 2))] }],
      [/flower action gact drop maybe drops$/],
    ],
    [
      "a program that decides by itself",
      [{ kind: "bpf", handle: 1, options: [u32Attribute(8, 1)] }],
      [/pref 10 bpf maybe drops$/],
    ],
    ["IPv6", [{ protocol: 0x86dd, options: [selector(everything), drop] }], []],
    ["every protocol", [{ protocol: protocols.all, options: [selector(everything), drop] }], [/ drops$/]],
  ];
  for (const [what, filters, expected] of cases) {
    const harms = harmsTo(filters);
    t.equal(harms.length, expected.length, `${what}: ${harms}`);
    expected.forEach((pattern, at) => {
      t.match(harms[at], pattern, what);
      t.ok(harms[at]?.startsWith(place), what);
    });
  }
});

t.test("filters of ARP are a chain of their own", async (t) => {
  const filter = decode({ protocol: protocols.arp, options: [selector(everything), drop] });
  t.match(filterChains("net1", "ingress", filter === undefined ? [] : [filter]), [
    { place: "tc arp filter dev net1", hook: { name: "input" }, rules: [{ effect: { verb: "drops" } }] },
  ]);
});

t.test("a filter that is cut short is unreadable", async (t) => {
  const key = selector(everything).slice(0, 24);
  t.equal(decode({ options: [bytesAttribute(5, key.slice(4)), drop] })?.keys, undefined);
  t.equal(decode({ chain: 7, options: [selector(everything), drop] }), undefined, "packets enter chain 0");
});

t.test("an ifb that is up gives back what it gets", async (t) => {
  const link = (kind: string, flags: number) => {
    const header = new DataView(new ArrayBuffer(linkHeader));
    header.setInt32(4, 9, true);
    header.setUint32(8, flags, true);
    const bytes = concatBytes(new Uint8Array(header.buffer), nestedAttribute(18, textAttribute(1, kind)));
    return decodeLinkPrograms(new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length).givesBack;
  };
  t.ok(link("ifb", 1));
  t.notOk(link("ifb", 0));
  t.notOk(link("veth", 1));
  const redirected = [{ options: [selector(everything), nestedAttribute(7, action(1, "mirred", 4, 1, 9))] }];
  t.same(
    harmsTo(redirected, {}, (index) => index === 9),
    [],
  );
  t.same(harmsTo(redirected, {}, (index) => index === 8).length, 1);
});

t.test("XDP programs of links", async (t) => {
  const link = (...xdp: readonly Uint8Array[]) => {
    const header = new DataView(new ArrayBuffer(linkHeader));
    header.setInt32(4, 7, true);
    const bytes = concatBytes(
      new Uint8Array(header.buffer),
      textAttribute(3, "net1"),
      ...(xdp.length === 0 ? [] : [nestedAttribute(43, ...xdp)]),
    );
    return decodeLinkPrograms(new DataView(bytes.buffer, bytes.byteOffset), 0, bytes.length);
  };
  const none = { index: 7, name: "net1", xdp: undefined, givesBack: false };
  t.same(link(), none);
  t.same(link(u8Attribute(2, 0)), none, "none");
  const attached = link(u8Attribute(2, 2), u32Attribute(4, 99)).xdp;
  t.same(attached, { mode: "xdpgeneric", programId: 99 });
  t.same(link(u8Attribute(2, 4)).xdp, { mode: "xdpmulti", programId: 0 });
  t.match(xdpChain("net1", { mode: "xdpgeneric", programId: 99 }), {
    place: "ip link net1",
    name: "xdpgeneric",
    hook: { name: "ingress", devices: ["net1"] },
    rules: [{ text: "program 99", effect: { kind: "unclear" } }],
  });
});

t.test("a qdisc that drops packets", async (t) => {
  const root = { index: 3, handle: 0x80010000, parent: 0xffffffff, kind: "pfifo" };
  t.equal(qdiscChain("net1", root), undefined);
  t.match(qdiscChain("net1", { ...root, dropsAll: "pfifo limit 0" }), {
    place: "tc qdisc dev net1",
    name: "root",
    hook: { name: "egress", devices: ["net1"] },
    rules: [{ text: "pfifo limit 0", tests: [], beyond: "all", effect: { kind: "harm", verb: "drops" } }],
  });
  const may = [{ effect: { kind: "harm", verb: "drops", isMaybe: true } }];
  t.match(
    qdiscChain("net1", { ...root, dropsMany: "bfifo limit 100" }),
    { name: "root", rules: may },
    "some",
  );
  t.match(
    qdiscChain("net1", { ...root, parent: 0x1000a, dropsAll: "blackhole" }),
    { name: "parent 1:a", rules: may },
    "of a class",
  );
});
