import t from "tap";
import { PassRetry } from "../../../../../agent/reconciler/retry/pass-retry.ts";

t.test("undone work is retried after growing pauses", async (t) => {
  const retry = new PassRetry();
  t.equal(retry.dueInMs, undefined);
  const pauses = Array.from({ length: 8 }, () => {
    retry.note(1, true);
    return retry.dueInMs;
  });
  t.strictSame(pauses, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  t.notOk(retry.isDone(1));
  retry.note(1, false);
  t.equal(retry.dueInMs, undefined);
  t.ok(retry.isDone(1));
  t.notOk(retry.isDone(2), "of another version nothing is known");
  retry.note(2, true);
  t.notOk(retry.isDone(1));
  t.equal(retry.dueInMs, 500, "from the beginning");
});
