/** When revisions were written, also after more writes than are kept. */
import t from "tap";
import { WriteTimes } from "../../../../agent/status/write-times.ts";

t.test("a revision has the time of its group", async (t) => {
  const times = new WriteTimes(10, "start");
  times.note(11, "a");
  times.note(15, "b");
  const early = times.reader();
  times.note(16, "c");
  const late = times.reader();
  t.same(
    [0, 10, 11, 12, 15, 16, 17].map((revision) => late(revision)),
    ["start", "start", "a", "b", "b", "c", "start"],
  );
  t.equal(early(15), "b");
});

t.test("of very many, the old ones get the time of the oldest that is known", async (t) => {
  const times = new WriteTimes(0, "start");
  times.note(1, "1");
  const reader = times.reader();
  for (let revision = 2; revision <= 10_001; revision++) times.note(revision, String(revision));
  t.equal(reader(1), "1", "a reader keeps what it knew");
  t.equal(times.reader()(10_001), "10001");
  const oldest = Number(times.reader()(1));
  t.ok(oldest > 1 && oldest < 10_001, String(oldest));
});
