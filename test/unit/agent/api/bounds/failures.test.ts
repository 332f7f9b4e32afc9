import t from "tap";
import { FailedAttempts } from "../../../../../agent/api/bounds/failures.ts";

t.test("a peer that fails too often waits; others and those admitted before do not", async (t) => {
  let nowMs = 0;
  const attempts = new FailedAttempts(() => nowMs, { most: 3, forgetMs: 1_000, admittedMs: 60_000 });
  attempts.admitted("a", "token:old");
  for (const left of [0, 0, 1_000, 1_000, 1_000]) {
    attempts.failed("a");
    t.equal(attempts.waitMs("a"), left);
  }
  t.equal(attempts.waitMs("b"), 0);
  t.ok(attempts.wasAdmitted("a", "token:old"));
  t.notOk(attempts.wasAdmitted("a", "token:new"));
  t.notOk(attempts.wasAdmitted("b", "token:old"), "from elsewhere");
  nowMs += 400;
  t.equal(attempts.waitMs("a"), 600);
  nowMs += 600;
  t.equal(attempts.waitMs("a"), 0);
  attempts.failed("a");
  t.equal(attempts.waitMs("a"), 1_000, "one a second");
  nowMs += 3_000;
  attempts.failed("a");
  t.equal(attempts.waitMs("a"), 0, "a pause forgives");
  nowMs += 60_000;
  t.notOk(attempts.wasAdmitted("a", "token:old"));
});

t.test("what it remembers is bounded", async (t) => {
  const attempts = new FailedAttempts(() => 0, { most: 1, remembered: 2 });
  for (const peer of ["a", "b", "c"]) attempts.failed(peer);
  t.same(
    ["a", "b", "c"].map((peer) => attempts.waitMs(peer) > 0),
    [false, true, true],
  );
});
