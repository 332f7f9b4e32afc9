/** What large packets are on the wire. */
import t from "tap";
import { onTheWire } from "../../../lib/accounting.ts";

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
