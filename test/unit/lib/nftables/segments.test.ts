/** What large packets are on the wire. */
import t from "tap";
import { fullLengths, onTheWire } from "../../../../lib/nftables/segments.ts";

const none = { packets: 0, bytes: 0 };

t.test("the ends of writes are half a segment on average", async (t) => {
  // Two packets of one and a half segments, and of two and a half.
  const large = { packets: 2, bytes: 2 * 52 + 4 * 1_448 };
  t.same(onTheWire(large, large, large, 1_500), { packets: 5, bytes: 4 * 1_448 + 5 * 52 });
});

t.test("packets that fit count as they are", async (t) => {
  t.same(onTheWire({ packets: 3, bytes: 4_000 }, none, none, 1_500), {
    packets: 3,
    bytes: 4_000,
  });
});

t.test("a large packet counts as its segments, each with its header", async (t) => {
  // 10 full segments in one packet, and an acknowledgement.
  const large = { packets: 1, bytes: 52 + 10 * 1_448 };
  const all = { packets: 2, bytes: large.bytes + 52 };
  t.same(onTheWire(all, large, none, 1_500), { packets: 11, bytes: 10 * 1_500 + 52 });
  t.same(onTheWire(large, large, none, 1_400), { packets: 11, bytes: 14_480 + 11 * 52 });
});

t.test("never fewer packets than were counted", async (t) => {
  const few = { packets: 5, bytes: 100 };
  t.same(onTheWire(few, few, none, 1_500), few);
});

t.test("full segments together have a known length, with timestamps and without", async (t) => {
  const lengths = fullLengths(1_500);
  for (const segments of [2, 3, 17, 44]) {
    t.ok(lengths.has(52 + segments * 1_448), `${segments} with timestamps`);
    t.ok(lengths.has(40 + segments * 1_460), `${segments} without`);
    t.notOk(lengths.has(52 + segments * 1_448 + 1), "one byte more");
    t.notOk(lengths.has(52 + segments * 1_448 - 1), "one byte less");
  }
  t.notOk(lengths.has(1_500), "one segment is no large packet");
});

t.test("no packet of IPv4 is longer than 65,535 bytes, whatever the MTU", async (t) => {
  for (const mtu of [68, 576, 1_500, 9_000, 32_000, 65_535, 70_000]) {
    const lengths = [...fullLengths(mtu)];
    t.ok(lengths.length <= 2 * 255, `${mtu}: ${lengths.length} lengths`);
    t.ok(
      lengths.every((length) => length > mtu && length <= 65_535),
      `${mtu}: longer than it`,
    );
  }
});
