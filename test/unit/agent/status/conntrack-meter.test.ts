/** Counters of 32 bits are added over all CPUs, also when they wrap around. */
import t from "tap";
import { ConntrackMeter } from "../../../../agent/status/conntrack-meter.ts";
import type { ConntrackCounts } from "../../../../lib/netlink/ctnetlink-statistics.ts";

const none: ConntrackCounts = { invalid: 0, insertFailed: 0, drop: 0, earlyDrop: 0, clashResolve: 0 };

t.test("increases", async (t) => {
  const told = new Map<string, number>();
  const meter = new ConntrackMeter((counter, more) => told.set(counter, (told.get(counter) ?? 0) + more));
  meter.update(
    new Map([
      [0, { ...none, invalid: 3 }],
      [1, { ...none, invalid: 0xffff_fffe, drop: 5 }],
    ]),
  );
  t.match(Object.fromEntries(told), { invalid: 3 + 0xffff_fffe, drop: 5, insertFailed: 0, full: 5 });
  meter.update(
    new Map([
      [0, { ...none, invalid: 4 }],
      [1, { ...none, invalid: 1, drop: 9, insertFailed: 3 }],
    ]),
  );
  t.match(Object.fromEntries(told), { invalid: 4 + 0x1_0000_0001, drop: 9, insertFailed: 3 });
  t.equal(told.get("full"), 6, "a packet whose translation found no place is no sign of a full table");
});
