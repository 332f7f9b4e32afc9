/** Readings and effects that hang are abandoned, and delay nothing else. */
import t from "tap";
import { TimedReader } from "../../../../../agent/reconciler/pass/timed-reader.ts";
import { TimeLimits } from "../../../../../agent/reconciler/time-limits.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import { subsystemPlan } from "../../../../../lib/plan/subsystem.ts";

const forever = new AbortController().signal;
const request = { reasons: [], isResync: false };
const planner = {
  name: "rule",
  title: "rules",
  serves: [],
  plan: () => subsystemPlan([]),
  reads: () => [],
} as const;

/** A reader of a subsystem whose readings end when the test says so. */
function readerWith(minTimeLimitMs: number) {
  const readings: PromiseWithResolvers<unknown>[] = [];
  const timeLimits = new TimeLimits();
  let lateEnds = 0;
  const reader = new TimedReader(
    {
      planner,
      observe: () => {
        readings.push(Promise.withResolvers());
        return readings.at(-1)?.promise ?? Promise.reject();
      },
    },
    {
      timeLimits,
      minTimeLimitMs,
      onLateEnd: () => {
        lateEnds++;
      },
    },
  );
  return { reader, readings, timeLimits, lateEnds: () => lateEnds };
}

t.test("a reading in time is returned unchanged", async (t) => {
  const { reader, readings, lateEnds } = readerWith(60_000);
  const reading = reader.read(request, forever);
  readings[0]?.resolve("rules");
  t.strictSame(await reading, { kind: "read", observed: "rules" });
  const failing = reader.read(request, forever);
  readings[1]?.reject(new GatewayError("unreadable", "cut short"));
  t.match(await failing, { kind: "unread", error: { message: "cut short" } });
  const bug = reader.read(request, forever);
  readings[2]?.reject(new RangeError("a bug"));
  await t.rejects(bug, /a bug/);
  t.equal(lateEnds(), 0);
});

t.test("a hanging reading is unread, and no second one starts beside it", async (t) => {
  const { reader, readings, timeLimits, lateEnds } = readerWith(1);
  t.match(await reader.read(request, forever), {
    kind: "unread",
    error: { message: "reading takes longer than 1 ms" },
  });
  t.match(await reader.read(request, forever), {
    kind: "unread",
    error: { message: "an earlier reading still hangs" },
  });
  t.equal(readings.length, 1, "never two at a time");
  t.equal(lateEnds(), 0);
  readings[0]?.resolve("what was there then");
  await timeLimits.settled();
  t.equal(lateEnds(), 1, "somebody is to look again");
  const again = reader.read(request, forever);
  readings[1]?.resolve("what is there now");
  t.strictSame(await again, { kind: "read", observed: "what is there now" });
});

t.test("a subsystem that failed late is read again too", async (t) => {
  const { reader, readings, timeLimits, lateEnds } = readerWith(1);
  await reader.read(request, forever);
  readings[0]?.reject(new GatewayError("command-failed", "it was killed"));
  await timeLimits.settled();
  t.equal(lateEnds(), 1);
  void reader.read(request, forever);
  t.equal(readings.length, 2);
});

t.test("the time limit grows with the set", async (t) => {
  let nowMs = 0;
  const waits: number[] = [];
  const timeLimits = new TimeLimits();
  const wait = timeLimits.wait.bind(timeLimits);
  timeLimits.wait = (effect, timeLimitMs, giveUp) => {
    waits.push(timeLimitMs);
    return wait(effect, timeLimitMs, giveUp);
  };
  const observe = async () => {
    nowMs += 3_000;
  };
  const reader = new TimedReader(
    { planner, observe },
    { timeLimits, onLateEnd: () => {}, nowMs: () => nowMs },
  );
  await reader.read(request, forever);
  await reader.read(request, forever);
  t.strictSame(waits, [5_000, 12_000]);
});

t.test("an abandoned effect starts no further step", async (t) => {
  const timeLimits = new TimeLimits();
  const { promise, resolve } = Promise.withResolvers<string>();
  let signal: AbortSignal | undefined;
  const effect = (within: AbortSignal) => {
    signal = within;
    return promise;
  };
  t.equal(
    await timeLimits.run("it", effect, 1, forever, ({ message }) => message),
    "it takes longer than 1 ms",
  );
  t.ok(signal?.aborted);
  let isSettled = false;
  const settled = timeLimits.settled().then(() => {
    isSettled = true;
  });
  await new Promise(setImmediate);
  t.notOk(isSettled, "what is in hand is waited for at the end");
  resolve("done");
  await settled;
  t.equal(
    await timeLimits.run(
      "it",
      async () => "done",
      60_000,
      forever,
      () => "given up",
    ),
    "done",
  );
});

t.test("an abandoned reading may end because its client disconnected: that is no bug", async (t) => {
  const { reader, readings, timeLimits, lateEnds } = readerWith(1);
  const client = new AbortController();
  t.match(await reader.read(request, client.signal), { kind: "unread" });
  const reason = new Error("the client disconnected");
  client.abort(reason);
  readings[0]?.reject(reason);
  await timeLimits.settled();
  t.equal(lateEnds(), 1, "the next reading may succeed");
});
