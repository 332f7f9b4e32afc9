/** Traffic control as messages. */
import t from "tap";
import { bytesAttribute, textAttribute } from "../../../../lib/netlink/attributes.ts";
import type { NetlinkMessage } from "../../../../lib/netlink/message.ts";
import { handleText, ownHandle, parseHandle, rootParent } from "../../../../lib/tc/handles.ts";
import {
  decodeClass,
  encodeAddClass,
  encodeChangeClass,
  encodeDeleteClass,
  type HtbClass,
  ticksOf,
} from "../../../../lib/tc/htb-class.ts";
import { decodeQdisc, encodeAddRoot, encodeSetQueue } from "../../../../lib/tc/qdisc.ts";
import { trafficAttribute, trafficMessage, trafficType } from "../../../../lib/tc/traffic-control.ts";

function viewOf({ payload }: NetlinkMessage): readonly [DataView, number, number] {
  return [new DataView(payload.buffer, payload.byteOffset, payload.byteLength), 0, payload.length];
}

const hex = ({ payload }: NetlinkMessage) => Buffer.from(payload).toString("hex");

t.test("handles as tc writes them", async (t) => {
  for (const [handle, text] of [
    [0x10000, "1:"],
    [0x10010, "1:10"],
    [0x8001ffff, "8001:ffff"],
  ] as const) {
    t.equal(handleText(handle), text);
    t.equal(parseHandle(text), handle);
  }
  for (const text of ["", "1", "1:10000", "x:1"]) t.ok(Number.isNaN(parseHandle(text)), text);
  t.equal(ownHandle(0xa3f), 0x10a3f);
});

const limit: HtbClass = {
  minor: 0x10,
  parent: 1,
  rate: 1_250_000,
  ceil: 1_250_000,
  buffer: ticksOf(65_536, 1_250_000),
  ceilBuffer: ticksOf(65_536, 1_250_000),
  quantum: 3_000,
};

t.test("a class is read back as it was sent", async (t) => {
  const classes = [
    limit,
    { ...limit, parent: 0, rate: 1_000, buffer: ticksOf(65_536, 1_000) },
    { ...limit, minor: 0xffef, rate: 125_000_000_000, ceil: 125_000_000_000 },
  ];
  for (const one of classes)
    for (const message of [encodeAddClass(7, one), encodeChangeClass(7, one)])
      t.same(decodeClass(...viewOf(message))?.class, one);
});

t.test("the bytes of a class", async (t) => {
  // tc class add dev ... (index 2) parent 1:1 classid 1:10 htb rate 10mbit burst 64k cburst 64k quantum 3000
  const opt = [
    "0001000000000000d0121300".repeat(2),
    "00800c00".repeat(2),
    "b80b0000",
    "0000000000000000",
  ].join("");
  t.equal(
    hex(encodeAddClass(2, limit)),
    `00000000020000001000010001000100000000000800010068746200${"4c000280"}${"30000100"}${opt}${"0c000600d012130000000000"}${"0c000700d012130000000000"}`,
  );
  t.equal(hex(encodeDeleteClass(2, 0x10)), "0000000002000000100001000000000000000000");
  t.equal(ticksOf(4_293_918_720, 125), 0xffffffff, "a burst that takes longer than a field can hold");
});

t.test("classes of other qdiscs are none of ours, and a class without parent is the qdisc's", async (t) => {
  const { payload } = encodeAddClass(7, limit);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  view.setUint32(12, 0xffffffff, true);
  t.equal(decodeClass(view, 0, payload.length)?.class.parent, 0, "TC_H_ROOT");
  view.setUint32(8, 0x80010010, true);
  t.equal(decodeClass(view, 0, payload.length), undefined);
});

t.test("qdiscs that drop packets", async (t) => {
  const netem = (limit: number, loss: number) => {
    const options = new Uint8Array(24);
    new DataView(options.buffer).setUint32(4, limit, true);
    new DataView(options.buffer).setUint32(8, loss, true);
    return options;
  };
  const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
  const tbf = (rate: number, buffer: number) => {
    const parameters = new DataView(new ArrayBuffer(36));
    parameters.setUint32(8, rate, true);
    parameters.setUint32(28, buffer, true);
    return bytesAttribute(1, new Uint8Array(parameters.buffer));
  };
  const decode = (kind: string, options?: Uint8Array) => {
    const attributes = [
      textAttribute(trafficAttribute.kind, kind),
      ...(options === undefined ? [] : [bytesAttribute(trafficAttribute.options, options)]),
    ];
    const place = { index: 3, handle: 0x80010000, parent: rootParent };
    return decodeQdisc(...viewOf(trafficMessage(trafficType.newQdisc, 0, place, ...attributes)));
  };
  const dropsAll = (kind: string, options?: Uint8Array) => decode(kind, options).dropsAll;
  const dropsMany = (kind: string, options?: Uint8Array) => decode(kind, options).dropsMany;
  t.equal(dropsAll("blackhole"), "blackhole");
  for (const kind of ["pfifo", "bfifo", "pfifo_head_drop"]) {
    t.equal(dropsAll(kind, u32(0)), `${kind} limit 0`);
    t.equal(dropsAll(kind, u32(1)), kind === "bfifo" ? "bfifo limit 1" : undefined);
    t.equal(dropsAll(kind), undefined);
  }
  t.equal(dropsAll("bfifo", u32(41)), "bfifo limit 41", "bytes");
  t.equal(dropsAll("bfifo", u32(42)), undefined);
  t.equal(dropsMany("bfifo", u32(42)), "bfifo limit 42");
  t.equal(dropsMany("bfifo", u32(1_514)), undefined);
  t.equal(dropsMany("pfifo", u32(1)), undefined);
  t.equal(dropsAll("tbf", tbf(125_000, ticksOf(10, 125_000))), "tbf rate 1000000bit burst 10b");
  t.equal(dropsMany("tbf", tbf(125_000, ticksOf(1_000, 125_000))), "tbf rate 1000000bit burst 1000b");
  t.equal(dropsMany("tbf", tbf(125_000, ticksOf(16_000, 125_000))), undefined);
  t.equal(dropsMany("tbf", tbf(125, ticksOf(16_000, 125))), "tbf rate 1000bit burst 16000b", "too slow");
  t.equal(dropsAll("netem", netem(1000, 0xffffffff)), "netem loss 100%");
  t.equal(dropsAll("netem", netem(1000, 0xfffffffe)), undefined);
  t.equal(dropsAll("netem", netem(0, 0)), "netem limit 0");
  t.equal(dropsAll("netem", new Uint8Array(4)), undefined);
  t.equal(dropsAll("htb"), undefined);
  t.equal(dropsAll("tbf"), undefined);
});

t.test("qdiscs", async (t) => {
  t.match(decodeQdisc(...viewOf(encodeAddRoot(3, 1_000))), {
    index: 3,
    kind: "htb",
    handle: 0x10000,
    parent: 0xffffffff,
    quantumDivisor: 1_000,
    defaultClass: 0,
  });
  t.match(decodeQdisc(...viewOf(encodeSetQueue(3, 0x10, { kind: "bfifo", limitBytes: 65_536 }))), {
    kind: "bfifo",
    parent: 0x10010,
    limitBytes: 65_536,
  });
  t.strictSame(decodeQdisc(...viewOf(encodeSetQueue(3, 0x10, { kind: "fq_codel", limitBytes: 1 }))), {
    index: 3,
    handle: 0,
    parent: 0x10010,
    kind: "fq_codel",
  });
});
