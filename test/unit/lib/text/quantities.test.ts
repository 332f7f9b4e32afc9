import t from "tap";
import { age, ageOf, bytes, counted, grouped, percent, took } from "../../../../lib/text/quantities.ts";

t.test("ages are those of kubectl", async (t) => {
  const [minute, hour, day, year] = [60, 3_600, 86_400, 31_536_000];
  for (const [seconds, text] of [
    [-5, "0s"],
    [0.9, "0s"],
    [119, "119s"],
    [2 * minute, "2m"],
    [3 * minute + 5, "3m5s"],
    [10 * minute + 5, "10m"],
    [179 * minute, "179m"],
    [3 * hour, "3h"],
    [7 * hour + 59 * minute, "7h59m"],
    [8 * hour + minute, "8h"],
    [47 * hour, "47h"],
    [2 * day + 5 * hour, "2d5h"],
    [8 * day + 5 * hour, "8d"],
    [729 * day, "729d"],
    [2 * year + 3 * day, "2y3d"],
    [9 * year + 3 * day, "9y"],
  ] as const)
    t.equal(age(seconds), text);
});

t.test("the age of a time", async (t) => {
  const now = Date.parse("2026-01-01T00:01:00Z");
  t.equal(ageOf("2026-01-01T00:00:00.000Z", now), "60s");
  t.equal(ageOf("2026-01-02T00:00:00Z", now), "0s", "the clocks differ");
  t.equal(ageOf(undefined, now), "-");
  t.equal(ageOf("yesterday", now), "unknown");
});

t.test("numbers", async (t) => {
  t.same([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
  t.same(
    [counted(1, "flow"), counted(0, "flow"), counted(2_000, "address", "addresses")],
    ["1 flow", "0 flows", "2,000 addresses"],
  );
  t.same([0.0001, 0.0123, 1.23, 63].map(took), ["under 1 ms", "12 ms", "1.2 s", "63 s"]);
  t.same([0, 1_023, 1_536, 300 * 2 ** 20, 2 ** 70].map(bytes), [
    "0 B",
    "1023 B",
    "1.5 KiB",
    "300 MiB",
    "1048576 PiB",
  ]);
  t.same([0, 0.001, 0.075, 0.5, 1].map(percent), ["0%", "0.1%", "7.5%", "50%", "100%"]);
});
