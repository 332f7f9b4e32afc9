/** Limits that Kube-OVN's script made with tc, of its releases with classes and of those that police. */
import t from "tap";
import { readScriptLimits } from "../../../../lib/import/script-limits.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { InterfaceName } from "../../../../lib/model/names.ts";
import {
  concatBytes,
  nestedAttribute,
  textAttribute,
  u32Attribute,
} from "../../../../lib/netlink/attributes.ts";
import type { ScriptedDevice } from "../../../../lib/plan/qos/scripted.ts";
import { type HtbClass, ticksOf } from "../../../../lib/tc/htb-class.ts";
import { decodeLimitFilter, type LimitFilter } from "../../../../lib/tc/limit-filter.ts";

const [vpc, external, ifb] = ["eth0", "net1", "ifb-net1"] as InterfaceName[] as [
  InterfaceName,
  InterfaceName,
  InterfaceName,
];
const context = {
  family: ipv4,
  interfaces: { vpcInterface: vpc, externalInterface: external },
  isEip: (ip: string) => ip === "203.0.113.10",
};

const megabyte = 1_048_576;
function classOf(minor: number, mbit: number, burstMB: number): HtbClass {
  const rate = mbit * 125_000;
  const buffer = ticksOf(Math.round(burstMB * megabyte), rate);
  return { minor, parent: 0, rate, ceil: rate, buffer, ceilBuffer: buffer, quantum: 1_000 };
}
const source = (value: number, mask = 0xffffffff) => ({ offset: 12, mask, value });
const destination = (value: number, mask = 0xffffffff) => ({ offset: 16, mask, value });
const [eip, peer] = [0xcb00710a, 0xc6336407];
const toClass = (priority: number, minor: number, ...matches: LimitFilter["matches"]): LimitFilter => {
  return {
    kind: matches.length === 0 ? "matchall" : "u32",
    priority,
    matches,
    classId: 0x10000 + minor,
    police: undefined,
  };
};
const device = (
  classes: readonly HtbClass[],
  filters: readonly LimitFilter[],
  ingress: readonly LimitFilter[] = [],
) =>
  ({ classes: new Map(classes.map((one) => [one.minor, one])), filters, ingress }) satisfies ScriptedDevice;
const redirect: LimitFilter = { kind: "u32", priority: 65_535, matches: [], classId: 0, police: undefined };

t.test("classes, with what comes in on a device of its own", async (t) => {
  const unlimited = classOf(0x9999, 10_000, 1);
  const { limits, unread } = readScriptLimits(
    new Map([
      [
        external,
        device(
          [unlimited, classOf(0x270f, 2.5, 0.3), classOf(0x8000, 10, 1), classOf(0xff03, 50, 5)],
          [toClass(1, 0x270f, source(eip)), toClass(2, 0x8000, destination(peer)), toClass(3, 0xff03)],
          [redirect],
        ),
      ],
      [ifb, device([unlimited, classOf(0x270f, 0.5, 0.06)], [toClass(4, 0x270f, destination(eip))])],
    ]),
    context,
  );
  t.strictSame(unread, []);
  t.strictSame(
    limits.map(({ spec }) => spec),
    [
      {
        name: "203.0.113.10-egress",
        direction: "egress",
        rateMbit: 2.5,
        burstMB: 0.3,
        priority: 1,
        eip: "203.0.113.10",
      },
      {
        name: "dev-external-egress-dst-198.51.100.7-32",
        direction: "egress",
        rateMbit: 10,
        burstMB: 1,
        priority: 2,
        interface: "external",
        match: { dst: "198.51.100.7/32" },
      },
      {
        name: "dev-external-egress-all",
        direction: "egress",
        rateMbit: 50,
        burstMB: 5,
        priority: 3,
        interface: "external",
      },
      {
        name: "203.0.113.10-ingress",
        direction: "ingress",
        rateMbit: 0.5,
        burstMB: 0.06,
        priority: 4,
        eip: "203.0.113.10",
      },
    ],
  );
});

t.test("policers: the address tells an EIP's from a device's", async (t) => {
  const police = (priority: number, ...matches: LimitFilter["matches"]): LimitFilter => {
    const rate = 1_250_000;
    return { kind: "u32", priority, matches, classId: 0, police: { rate, burst: ticksOf(megabyte, rate) } };
  };
  const { limits } = readScriptLimits(
    new Map([
      [
        external,
        device(
          [],
          [police(1, source(eip)), police(2, source(peer))],
          [police(3, destination(eip)), police(4, source(0x0a000000, 0xff000000)), police(5)],
        ),
      ],
    ]),
    context,
  );
  t.strictSame(
    limits.map(({ spec: { name, rateMbit, burstMB } }) => [name, rateMbit, burstMB]),
    [
      ["203.0.113.10-egress", 10, 1],
      ["dev-external-egress-src-198.51.100.7-32", 10, 1],
      ["203.0.113.10-ingress", 10, 1],
      ["dev-external-ingress-src-10.0.0.0-8", 10, 1],
      ["dev-external-ingress-all", 10, 1],
    ],
  );
});

t.test("what is no limit is reported", async (t) => {
  const { limits, unread } = readScriptLimits(
    new Map([
      [
        external,
        device(
          [classOf(0x10, 1, 1)],
          [
            toClass(1, 0x11, source(eip)),
            toClass(2, 0x10, source(eip), destination(peer)),
            toClass(3, 0x10, { offset: 20, mask: 0xffff, value: 53 }),
          ],
        ),
      ],
    ]),
    context,
  );
  t.strictSame(limits, []);
  t.match(unread, [
    { what: "pref 1 u32 flowid 1:11", where: "tc filter net1", why: /neither a class nor a rate/ },
    { what: "pref 2 u32 flowid 1:10", why: /one network/ },
    { what: "pref 3 u32 flowid 1:10", why: /one network/ },
  ]);
});

t.test("filters as the kernel tells them", async (t) => {
  const header = new Uint8Array(20);
  new DataView(header.buffer).setUint32(16, (7 << 16) | 8, true);
  const decode = (kind: string, ...options: readonly Uint8Array[]) => {
    const bytes = concatBytes(header, textAttribute(1, kind), nestedAttribute(2, ...options));
    return decodeLimitFilter(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
  };
  const selector = new Uint8Array(32);
  const view = new DataView(selector.buffer);
  selector.set([1, 0, 1]);
  view.setUint32(16, 0xffffff00);
  view.setUint32(20, 0xc6336400);
  view.setInt32(24, 12, true);
  const attribute = (type: number, bytes: Uint8Array) =>
    concatBytes(Uint8Array.of(bytes.length + 4, 0, type, 0), bytes);
  const policed = new Uint8Array(56);
  new DataView(policed.buffer).setUint32(12, 1_000, true);
  new DataView(policed.buffer).setUint32(28, 1_250_000, true);
  const network = [{ offset: 12, mask: 0xffffff00, value: 0xc6336400 }];
  t.strictSame(decode("u32", u32Attribute(1, 0x18000), attribute(5, selector)), {
    kind: "u32",
    priority: 7,
    matches: network,
    classId: 0x18000,
    police: undefined,
  });
  t.match(decode("u32", attribute(5, selector), nestedAttribute(6, attribute(1, policed))), {
    matches: network,
    police: { rate: 1_250_000, burst: 1_000 },
  });
  const action = nestedAttribute(1, textAttribute(1, "police"), nestedAttribute(2, attribute(1, policed)));
  t.match(decode("matchall", nestedAttribute(2, action)), {
    kind: "matchall",
    matches: [],
    police: { rate: 1_250_000, burst: 1_000 },
  });
  t.equal(decode("u32", u32Attribute(4, 1)), undefined, "a hash table");
  t.match(decode("flower", u32Attribute(1, 0x10010)), { kind: "flower", classId: 0 }, "not understood");
});
