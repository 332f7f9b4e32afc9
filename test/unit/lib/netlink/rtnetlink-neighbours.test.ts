/** Single entries of the neighbour table: requests and answers. */
import t from "tap";
import type { Ip } from "../../../../lib/model/ip.ts";
import { ipv4, parseIp } from "../../../../lib/model/ipv4.ts";
import {
  decodeNeighbourState,
  decodePermanent,
  dumpNeighbours,
  encodeGetNeighbour,
  encodeUseNeighbour,
} from "../../../../lib/netlink/rtnetlink-neighbours.ts";

const address = parseIp("203.0.113.1") as Ip;
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

t.test("requests", async (t) => {
  const destination = "08000100cb007101";
  t.equal(hex(encodeGetNeighbour(3, address, ipv4).payload), `020000000300000000000000${destination}`);
  const use = encodeUseNeighbour(3, address, ipv4);
  t.equal(hex(use.payload), `020000000300000000000100${destination}`, "NTF_USE");
  t.equal(use.flags, 0x500, "made where there is none, never refused where there is one");
});

t.test("states", async (t) => {
  const stateOf = (state: number) => {
    const view = new DataView(new ArrayBuffer(12));
    view.setUint16(8, state, true);
    return decodeNeighbourState(view, 0, 12);
  };
  t.same([0x02, 0x04, 0x08, 0x10, 0x40, 0x80].map(stateOf), new Array(6).fill("known"));
  t.same([0, 0x01].map(stateOf), ["unknown", "unknown"]);
  t.equal(stateOf(0x20), "failed");
  const withMac = (state: number) => {
    const view = new DataView(new ArrayBuffer(24));
    view.setUint16(8, state, true);
    view.setUint16(12, 10, true);
    view.setUint16(14, 2, true);
    for (const [at, byte] of [2, 0, 0, 0, 0, 0x0a].entries()) view.setUint8(16 + at, byte);
    return decodeNeighbourState(view, 0, 24);
  };
  t.same([0x02, 0x04, 0x40, 0x80].map(withMac), [
    "known",
    "known",
    "fixed 02:00:00:00:00:0a",
    "fixed 02:00:00:00:00:0a",
  ]);
});

t.test("permanent entries of a dump", async (t) => {
  t.equal(hex(dumpNeighbours(ipv4).payload), "020000000000000000000000");
  const entryOf = (state: number, attributeType: number, mac = [2, 0, 0, 0, 0, 0x0a]) => {
    const view = new DataView(new ArrayBuffer(32));
    view.setUint32(4, 3, true);
    view.setUint16(8, state, true);
    view.setUint16(12, 8, true);
    view.setUint16(14, attributeType, true);
    view.setUint32(16, 0xcb007101);
    view.setUint16(20, 10, true);
    view.setUint16(22, 2, true);
    for (const [at, byte] of mac.entries()) view.setUint8(24 + at, byte);
    return decodePermanent(view, 0, 32, ipv4);
  };
  t.same(entryOf(0x40, 1), { index: 3, address }, "NUD_NOARP");
  t.equal(entryOf(0x40, 1, [1, 0, 0x5e, 0, 0, 1]), undefined, "of a group");
  t.equal(entryOf(0x40, 1, [0, 0, 0, 0, 0, 0]), undefined, "of a device without MACs");
  t.same(entryOf(0x80, 1), { index: 3, address });
  for (const state of [0x02, 0x20]) t.equal(entryOf(state, 1), undefined);
  t.equal(entryOf(0x80, 2), undefined, "an entry without an address");
  t.equal(decodePermanent(new DataView(new ArrayBuffer(4)), 0, 4, ipv4), undefined);
});
