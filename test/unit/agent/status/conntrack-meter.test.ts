/** Counters of 32 bits are added over all CPUs, also when they wrap around. */
import t from "tap";
import { ConntrackMeter } from "../../../../agent/status/conntrack-meter.ts";
import { noCounts } from "../../../../lib/netlink/ctnetlink-statistics.ts";

const none = noCounts();

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

t.test("packets for which SNAT found no port", async (t) => {
  for (const [what, counts, expected] of [
    ["each has looked at 248 ports, of TCP at 128", { insertFailed: 10, drop: 10, found: 2_480 }, 10],
    ["two packets of one new flow: nobody looked for a port", { insertFailed: 3, drop: 3, found: 12 }, 0],
    ["a chain that is too long", { insertFailed: 50, found: 9_000, chainTooLong: 50 }, 0],
    ["some of each", { insertFailed: 7, drop: 5, found: 650, chainTooLong: 2 }, 5],
    ["nearly full: ports are found after a long search", { found: 100_000 }, 0],
  ] as const) {
    let noPort = 0;
    const meter = new ConntrackMeter((counter, more) => {
      if (counter === "noPort") noPort += more;
    });
    meter.update(new Map([[0, { ...none, ...counts }]]));
    t.equal(noPort, expected, what);
  }
});
