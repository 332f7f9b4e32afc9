import t from "tap";
import { SharedReading } from "../../../../../agent/reconciler/operations/shared-reading.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";

const never = new AbortController().signal;

/** A reading that the test ends. */
function held() {
  const ends: ((value: number) => void)[] = [];
  const pauses: number[] = [];
  let nowMs = 0;
  const shared = new SharedReading<number>({
    read: () => new Promise((resolve) => ends.push(resolve)),
    maxWaiting: 3,
    nowMs: () => nowMs,
    sleep: async (ms) => pauses.push(ms),
  });
  const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
  return { ends, shared, turn, pauses, spend: (ms: number) => (nowMs += ms) };
}

t.test("who comes during a reading waits for the next one, together with others", async (t) => {
  const { ends, shared, turn } = held();
  const first = shared.get(never);
  await turn();
  t.equal(ends.length, 1);
  const [second, third] = [shared.get(never), shared.get(never)];
  await turn();
  t.equal(ends.length, 1, "one at a time");
  ends[0]?.(1);
  t.equal(await first, 1);
  while (ends.length < 2) await turn();
  ends[1]?.(2);
  t.same(await Promise.all([second, third]), [2, 2], "it began after both");
  t.equal(ends.length, 2);
});

t.test("a reading is followed by a pause, four times as long as the reading", async (t) => {
  const { ends, shared, turn, pauses, spend } = held();
  for (const [at, ms] of [20, 3_000].entries()) {
    const reading = shared.get(never);
    while (ends.length === at) await turn();
    spend(ms);
    ends[at]?.(1);
    await reading;
  }
  await turn();
  t.same(pauses, [80, 2_000], "and no longer than 2 s");
});

t.test("too many wait, one gives up, a reading fails", async (t) => {
  const { ends, shared, turn } = held();
  const abort = new AbortController();
  const waiting = [shared.get(never), shared.get(abort.signal), shared.get(never)];
  await t.rejects(shared.get(never), { code: "overloaded" });
  abort.abort(new Error("gone"));
  await t.rejects(async () => waiting[1], { message: "gone" });
  await turn();
  ends[0]?.(7);
  t.same(await Promise.all([waiting[0], waiting[2]]), [7, 7], "the others get theirs");
  await t.rejects(shared.get(AbortSignal.abort(new Error("late"))), { message: "late" });

  let isBroken = true;
  const failing = new SharedReading({
    read: async () => {
      if (isBroken) throw new GatewayError("unreadable", "cut short");
      return 1;
    },
    // Its own timer does not keep a process alive.
    sleep: async () => {},
  });
  await t.rejects(failing.get(never), { code: "unreadable" });
  isBroken = false;
  t.equal(await failing.get(never), 1, "the next one is read again");
});
