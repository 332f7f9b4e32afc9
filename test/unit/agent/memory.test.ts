/** Memory is given back when the process is at rest, and only what is worth it. */
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { createLog } from "../../../agent/log.ts";
import { MemoryKeeper } from "../../../agent/memory.ts";
import { until } from "../../support/run.ts";

t.test("what a large piece of work left behind goes, once, when the process rests", async (t) => {
  const told: { before: number; after: number }[] = [];
  const log = createLog("debug", { version: "0" }, { write: (line) => void told.push(JSON.parse(line)) });
  const keeper = new MemoryKeeper(log, 50);
  keeper.start();
  t.teardown(() => keeper.stop());
  await until("the start to be settled", () => told.length === 1);
  let work: unknown = Array.from({ length: 2_000_000 }, (_, index) => ({ index }));
  t.equal(told.length, 1, "not while it works");
  work = undefined;
  await until("the memory to be given back", () => told.length === 2);
  const [, { before, after } = { before: 0, after: 0 }] = told;
  t.ok(before - after > 32 << 20, `${before} before, ${after} after`);
  await delay(200);
  t.equal(told.length, 2, "and nothing more than that");
  t.equal(work, undefined);
});
