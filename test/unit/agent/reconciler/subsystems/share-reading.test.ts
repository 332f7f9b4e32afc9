import t from "tap";
import { shareReading } from "../../../../../agent/reconciler/subsystems/share-reading.ts";

const forever = new AbortController().signal;

t.test(
  "subsystems that are read together share a reading; a later one sees what was written since",
  async (t) => {
    let reads = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const read = shareReading(async () => {
      const mine = ++reads;
      await promise;
      return mine;
    });
    const together = Promise.all([read(forever), read(forever), read(forever)]);
    await Promise.resolve();
    const later = read(forever);
    resolve();
    t.strictSame(await together, [1, 1, 1]);
    t.equal(await later, 2, "though the first was still under way");
  },
);

t.test("a failure is shared, too, and the next reading tries again", async (t) => {
  let reads = 0;
  const read = shareReading(async () => {
    if (++reads === 1) throw new Error("cut short");
    return reads;
  });
  const both = [read(forever), read(forever)];
  for (const one of both) await t.rejects(one, /cut short/);
  t.equal(await read(forever), 2);
});
