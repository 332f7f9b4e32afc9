/** What large packets are on the wire. */
import t from "tap";
import { onTheWire } from "../../../lib/accounting.ts";

t.test("packets that fit count as they are", async (t) => {
  t.same(onTheWire({ packets: 3, bytes: 4_000 }, { packets: 0, bytes: 0 }, 1_500), {
    packets: 3,
    bytes: 4_000,
  });
});

t.test("a large packet counts as its segments, each with its header", async (t) => {
  // 10 full segments in one packet, and an acknowledgement.
  const large = { packets: 1, bytes: 52 + 10 * 1_448 };
  const all = { packets: 2, bytes: large.bytes + 52 };
  t.same(onTheWire(all, large, 1_500), { packets: 11, bytes: 10 * 1_500 + 52 });
  t.same(onTheWire(large, large, 1_400), { packets: 11, bytes: 14_480 + 11 * 52 });
});

t.test("never fewer packets than were counted", async (t) => {
  t.same(onTheWire({ packets: 5, bytes: 100 }, { packets: 5, bytes: 100 }, 1_500), {
    packets: 5,
    bytes: 100,
  });
});
