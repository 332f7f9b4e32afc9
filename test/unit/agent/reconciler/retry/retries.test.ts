/** What full passes remember of each other, and when the next one is due. */
import t from "tap";
import type { ProgramInput } from "../../../../../agent/reconciler/retry/program-versions.ts";
import { maxQuickRepairs } from "../../../../../agent/reconciler/retry/repair-throttle.ts";
import { earliest, Retries } from "../../../../../agent/reconciler/retry/retries.ts";
import { runSync } from "../../../../../lib/chunked.ts";
import type { Change } from "../../../../../lib/model/change.ts";
import type { PlannedStep } from "../../../../../lib/plan/plan.ts";

const x: Change = { action: "add", subsystem: "rule", text: "-A X" };
const steps: readonly PlannedStep[] = [{ subsystem: "rule", phase: "rules", changes: [x], payload: "" }];
const input = (revision: number): ProgramInput => ({ state: { desired: { revision } }, blocked: new Map() });

/** One pass that plans `planned`, writes what is due of it, and leaves `left`. */
function pass(
  retries: Retries,
  revision: number,
  planned = steps,
  left: readonly Change[] = [],
  isRetry = false,
) {
  const review = runSync(retries.review(input(revision), planned, { isRetry }));
  const done = review.due.flatMap(({ changes }) => changes);
  const repairs = runSync(retries.onWritten(review, done, { changes: left, unread: new Set() }));
  retries.onPassEnd(review, { failures: [], planAfter: { changes: left }, isClean: left.length === 0 });
  return { ...review, repairs };
}

t.test("a version is new until all its work is done", async (t) => {
  const retries = new Retries(() => 0);
  t.ok(pass(retries, 1, steps, [x]).hasOpenWork);
  t.equal(retries.dueInMs(new Set()), 500, "undone work is retried");
  t.ok(pass(retries, 1).hasOpenWork);
  t.equal(retries.dueInMs(new Set()), undefined);
  t.notOk(pass(retries, 1, []).hasOpenWork);
  t.ok(pass(retries, 2, []).hasOpenWork);
});

t.test("work that an incremental pass did is done, and what is missing after it is drift", async (t) => {
  const retries = new Retries(() => 0);
  pass(retries, 1);
  retries.recordIncrementalPass(input(1), input(2));
  const { hasOpenWork, repairs } = pass(retries, 2);
  t.notOk(hasOpenWork);
  t.strictSame(repairs, [x]);

  pass(retries, 3, steps, [x]);
  retries.recordIncrementalPass(input(3), input(4));
  t.ok(pass(retries, 4).hasOpenWork, "a pass before it left something undone");
});

t.test("a throttled repair has its own time", async (t) => {
  const retries = new Retries(() => 0);
  for (let times = 0; times <= maxQuickRepairs + 1; times++) pass(retries, 1);
  const { due, throttled } = pass(retries, 1, steps, [x]);
  t.equal(due.length, 0);
  t.match(retries.throttled, [{ change: x }]);
  t.equal(retries.dueInMs(throttled), 500);
  t.ok((retries.dueInMs(new Set()) ?? 0) > 500, "nothing else is retried before that");
  t.strictSame(
    pass(retries, 1, steps, [], true).repairs,
    [x],
    "but it does not wait in a pass that somebody asked for",
  );
});

t.test("the earliest of several times", async (t) => {
  t.equal(earliest([undefined, 7, 3]), 3);
  t.equal(earliest([undefined]), undefined);
});
