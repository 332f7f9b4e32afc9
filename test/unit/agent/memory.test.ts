/** Memory is returned to the system when the process is idle, and only if it is worth it. */
import t from "tap";
import { createLog } from "../../../agent/log.ts";
import { MemoryKeeper } from "../../../agent/memory.ts";
import { until } from "../../support/run.ts";

const intervalMs = 20;

t.test("memory of a large task is released once, when the process is idle", async (t) => {
  const told: { before: number; after: number }[] = [];
  const log = createLog("debug", { version: "0" }, { write: (line) => void told.push(JSON.parse(line)) });
  let isWorking = false;
  let looks = 0;
  let usedMs = 0;
  const keeper = new MemoryKeeper(log, intervalMs, () => {
    looks++;
    if (isWorking) usedMs += intervalMs / 2;
    return { user: usedMs * 1000, system: 0 };
  });
  const looksMore = (count: number) => {
    const enough = looks + count;
    return until(`${count} looks`, () => looks >= enough);
  };
  keeper.start();
  t.teardown(() => keeper.stop());
  await until("the start to be settled", () => told.length === 1);

  isWorking = true;
  let work: unknown[] | undefined = Array.from({ length: 6_000_000 }, (_, index) => ({ index }));
  await looksMore(5);
  t.equal(told.length, 1, "not while it works");
  t.equal(work.length, 6_000_000);
  work = undefined;
  await looksMore(5);
  t.equal(told.length, 1, "nor because there is something to give back");

  isWorking = false;
  await until("the memory to be given back", () => told.length === 2);
  const [, { before, after } = { before: 0, after: 0 }] = told;
  t.ok(before - after > 32 << 20, `${before} before, ${after} after`);
  await looksMore(5);
  t.equal(told.length, 2, "and nothing more than that");
});
