/** What counts as drift, and which repairs wait. */
import t from "tap";
import { Drift } from "../../../../../agent/reconciler/retry/drift.ts";
import { keyOf, maxQuickRepairs } from "../../../../../agent/reconciler/retry/repair-throttle.ts";
import { runSync } from "../../../../../lib/chunked.ts";
import type { Change, SubsystemName } from "../../../../../lib/model/change.ts";
import type { PlannedStep } from "../../../../../lib/plan/plan.ts";

const rule = (text: string): Change => ({ action: "add", subsystem: "rule", text });
const address = (text: string): Change => ({ action: "add", subsystem: "address", text });

/** What a pass would do: rules in one transaction, and addresses each by itself. */
function steps(rules: readonly Change[], addresses: readonly Change[] = []): readonly PlannedStep[] {
  return [
    ...(rules.length === 0
      ? []
      : [{ subsystem: "rule", phase: "rules", changes: rules, payload: "a transaction" } as const]),
    ...addresses.map(
      (change) => ({ subsystem: "address", phase: "addresses", changes: [change], payload: change }) as const,
    ),
    { subsystem: "flow", phase: "flows", changes: [], payload: "a look" },
  ];
}

const changesOf = (planned: readonly PlannedStep[]) => planned.flatMap(({ changes }) => changes);

const [x, y] = [rule("-A X"), rule("-A Y")];
const nothing = steps([]);

/**
 * One pass that plans `planned`, writes everything except `refused`, and then reads everything except `unread`: there it
 * plans `planAfter`.
 * @returns the review of its plan
 */
function pass(
  drift: Drift,
  version: number,
  planned: readonly PlannedStep[],
  planAfter: readonly PlannedStep[],
  refused: readonly Change[] = [],
  unread: ReadonlySet<SubsystemName> = new Set(),
) {
  const review = runSync(drift.review(version, planned, 0, false));
  const done = changesOf(review.due).filter((change) => !refused.includes(change));
  runSync(drift.onWritten(version, review, done, { changes: changesOf(planAfter), unread }, 0));
  return review;
}

/** `planned` is undone repeatedly, until it is throttled. */
function throttled(planned: readonly PlannedStep[]): Drift {
  const drift = new Drift();
  pass(drift, 1, planned, nothing);
  for (let n = 0; n <= maxQuickRepairs; n++) pass(drift, 1, planned, nothing);
  return drift;
}

t.test("drift is an applied change that was undone, not a newly desired one", async (t) => {
  const drift = new Drift();
  t.strictSame(pass(drift, 1, steps([x, y]), nothing).repairs, []);
  t.strictSame(pass(drift, 1, steps([x]), nothing).repairs, [x]);
  t.strictSame(pass(drift, 2, steps([x]), nothing).repairs, [], "asked for anew");
});

t.test("what was missing where nothing could be read is not drift", async (t) => {
  const drift = new Drift();
  pass(drift, 1, nothing, nothing, [], new Set(["rule"]));
  const a = address("A");
  t.strictSame(pass(drift, 1, steps([x], [a]), nothing).repairs, [a]);
  t.strictSame(pass(drift, 1, steps([x]), nothing).repairs, [x], "now it was read");
  pass(drift, 1, nothing, nothing, [], new Set(["rule"]));
  t.strictSame(
    pass(drift, 1, steps([x]), nothing).repairs,
    [x],
    "it was as desired before it could not be read",
  );
  pass(drift, 2, nothing, nothing, [], new Set(["rule"]));
  t.strictSame(pass(drift, 2, steps([x]), nothing).repairs, [], "for another version it was not");
});

t.test("a change undone before it was read back is also drift", async (t) => {
  const drift = new Drift();
  pass(drift, 1, steps([x]), steps([x]));
  t.strictSame(pass(drift, 1, steps([x]), steps([x])).repairs, [x]);
});

t.test("refused or late changes are not drift", async (t) => {
  const drift = new Drift();
  for (let n = 0; n < 10; n++) {
    const { repairs, throttled } = pass(drift, 1, steps([x]), steps([x]), [x]);
    t.equal(repairs.length + throttled.size, 0);
  }
  pass(drift, 2, nothing, steps([y]));
  t.strictSame(pass(drift, 2, steps([y]), nothing).repairs, []);
});

t.test("a repair that is undone repeatedly waits, and nothing else waits with it", async (t) => {
  const added = address("203.0.113.10");
  const drift = throttled(steps([x]));
  const review = runSync(drift.review(1, steps([x], [added]), 0, false));
  t.strictSame([...review.throttled], [keyOf(x)]);
  t.strictSame(changesOf(review.due), [added]);
  t.ok(
    review.due.some(({ subsystem }) => subsystem === "flow"),
    "a step that only looks never waits",
  );
  t.match(drift.throttled(0), [{ change: x }]);
});

t.test("whoever asks for a pass does not wait for a throttled repair, which stays throttled", async (t) => {
  const drift = throttled(steps([x]));
  const review = runSync(drift.review(1, steps([x]), 0, true));
  t.strictSame([changesOf(review.due), review.repairs], [[x], [x]]);
  t.equal(review.throttled.size, 0);
  runSync(drift.onWritten(1, review, [x], { changes: [], unread: new Set() }, 0));
  t.match(drift.throttled(0), [{ change: x, repairs: maxQuickRepairs + 2 }], "it counts as a repair");
  t.strictSame(changesOf(pass(drift, 1, steps([x]), nothing).due), [], "the next one waits");
});

t.test("a throttled repair stays throttled while it is undone", async (t) => {
  const drift = throttled(steps([x]));
  const review = runSync(drift.review(1, steps([x]), 0, false));
  runSync(drift.onWritten(1, review, [], { changes: [x], unread: new Set() }, 0));
  t.strictSame(pass(drift, 1, steps([x]), nothing).repairs, [], "it waits");
  const later = runSync(drift.review(1, steps([x]), 10_000, false));
  t.strictSame(later.repairs, [x], "and is a repair once its time has come");
});

t.test("a throttled change is applied if its transaction is due", async (t) => {
  const review = runSync(throttled(steps([x])).review(1, steps([x, y]), 0, false));
  t.strictSame(changesOf(review.due), [x, y]);
  t.equal(review.due[0]?.payload, "a transaction");
});

t.test("waiting repairs are due after the next write", async (t) => {
  const review = runSync(throttled(steps([x])).review(2, steps([x]), 0, false));
  t.equal(review.throttled.size, 0);
  t.strictSame(changesOf(review.due), [x]);
});

t.test("a throttled address waits like a rule", async (t) => {
  const added = address("203.0.113.10");
  const review = runSync(throttled(steps([], [added])).review(1, steps([x], [added]), 0, false));
  t.strictSame(changesOf(review.due), [x]);
});
