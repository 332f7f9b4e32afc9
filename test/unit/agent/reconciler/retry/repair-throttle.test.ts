/** Repairs that another program undoes: when they wait and how long, and that nothing else waits. */
import t from "tap";
import {
  calmMs,
  keyOf,
  maxQuickRepairs,
  RepairThrottle,
  windowMs,
} from "../../../../../agent/reconciler/retry/repair-throttle.ts";
import { runSync } from "../../../../../lib/chunked.ts";
import type { Change } from "../../../../../lib/model/change.ts";

const rule = (text: string): Change => ({ action: "add", subsystem: "rule", text });

t.test("the throttle", async (t) => {
  t.test("a few repairs are immediate, then pauses grow up to 5 s and do not end", async (t) => {
    const throttle = new RepairThrottle();
    const undone = [rule("-A X")];
    let nowMs = 1_000;
    const pauses: number[] = [];
    for (let n = 0; n < 12; n++) {
      t.equal(runSync(throttle.throttled(undone, nowMs)).size, 0, "a repair is always due in the end");
      runSync(throttle.record(undone, nowMs));
      const waiting = runSync(throttle.throttled(undone, nowMs));
      pauses.push(throttle.dueInMs(waiting, nowMs) ?? 0);
      if (waiting.size > 0)
        t.equal(runSync(throttle.throttled(undone, nowMs + (pauses.at(-1) ?? 0) - 1)).size, 1);
      nowMs += waiting.size > 0 ? (pauses.at(-1) ?? 0) : 10;
    }
    t.strictSame(pauses, [0, 0, 0, 0, 0, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
    t.match(throttle.current(nowMs), [{ change: { text: "-A X" }, repairs: 12 }]);
  });

  t.test("only the throttled repair waits", async (t) => {
    const throttle = new RepairThrottle();
    for (let n = 0; n <= maxQuickRepairs; n++) runSync(throttle.record([rule("-A X")], n));
    t.strictSame(
      runSync(throttle.throttled([rule("-A X"), rule("-A Y")], 10)),
      new Set([keyOf(rule("-A X"))]),
    );
    t.equal(runSync(throttle.throttled([{ ...rule("-A X"), action: "remove" }], 10)).size, 0);
  });

  t.test("slow repairs are not throttled, and calm ends throttling", async (t) => {
    const slow = new RepairThrottle();
    for (let n = 0; n < 50; n++) runSync(slow.record([rule("-A X")], (n * windowMs) / maxQuickRepairs));
    t.strictSame(slow.current(0), []);
    const over = new RepairThrottle();
    for (let n = 0; n <= maxQuickRepairs; n++) runSync(over.record([rule("-A X")], n));
    t.equal(over.dueInMs(new Set(), maxQuickRepairs), calmMs, "a look falls due when it is over");
    t.equal(over.current(maxQuickRepairs + calmMs - 1).length, 1);
    t.equal(over.current(maxQuickRepairs + calmMs).length, 0);
    t.equal(over.dueInMs(new Set(), maxQuickRepairs + calmMs), undefined);
    runSync(over.record([rule("-A X")], 100_000));
    t.equal(
      runSync(over.throttled([rule("-A X")], 100_001)).size,
      0,
      "the next one starts from the beginning",
    );
  });
});
