/** Counters of links as the kernel sends them. */
import t from "tap";
import { bytesAttribute, concatBytes, textAttribute } from "../../../../lib/netlink/attributes.ts";
import { decodeLinkCounters } from "../../../../lib/netlink/rtnetlink-link-counters.ts";

function linkOf(name: string, ...counters: readonly number[]) {
  const statistics = new Uint8Array(8 * Math.max(counters.length, 4));
  const view = new DataView(statistics.buffer);
  for (const [at, counter] of counters.entries()) view.setBigUint64(8 * at, BigInt(counter), true);
  const payload = concatBytes(
    new Uint8Array(16),
    textAttribute(3, name),
    ...(counters.length === 0 ? [] : [bytesAttribute(23, statistics)]),
  );
  const all = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  return decodeLinkCounters(all, 0, payload.length);
}

t.test("packets and bytes in both directions", async (t) => {
  t.same(linkOf("net1", 1, 2, 2 ** 40, 4, 9), {
    name: "net1",
    counts: { receivePackets: 1, transmitPackets: 2, receiveBytes: 2 ** 40, transmitBytes: 4 },
  });
});

t.test("a link without counters, or with a name that no interface of the gateway has", async (t) => {
  t.equal(linkOf("net1"), undefined);
  t.equal(linkOf("a name", 1, 2, 3, 4), undefined);
});
