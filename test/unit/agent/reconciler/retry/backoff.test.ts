import t from "tap";
import { Backoff } from "../../../../../agent/reconciler/retry/backoff.ts";

t.test("failures wait 10 s, doubling to 5 min", async (t) => {
  const backoff = new Backoff<string>();
  const delays: number[] = [];
  for (let n = 0; n < 8; n++) {
    backoff.record("a", "refused", 1000);
    delays.push(backoff.dueInMs(1000) ?? -1);
  }
  t.strictSame(delays, [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
  t.equal(backoff.waiting(300_999).size, 1);
  t.equal(backoff.waiting(301_000).size, 0, "then it is tried again");
  t.strictSame([...backoff.due(300_999)], []);
  t.strictSame([...backoff.due(301_000)], ["a"]);
  backoff.postpone("a", 301_000);
  t.equal(backoff.dueInMs(301_000), 300_000, "the same pause again");
  backoff.postpone("b", 301_000);
  backoff.clear("a");
  t.equal(backoff.dueInMs(0), undefined);
});
