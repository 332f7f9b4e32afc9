import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { Mutex } from "../../../agent/mutex.ts";

t.test("the mutex lets one task run at a time, failures included", async (t) => {
  const mutex = new Mutex();
  const order: string[] = [];
  const slow = mutex.run(async () => {
    await delay(5);
    order.push("slow");
    throw new Error("failed");
  });
  const quick = mutex.run(async () => order.push("quick"));
  await t.rejects(slow, /failed/);
  await quick;
  t.strictSame(order, ["slow", "quick"]);
});
