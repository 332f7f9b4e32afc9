/** Counters are read at the start and while somebody scrapes, and take a bounded share of a core. */
import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { TimedReading } from "../../../../agent/status/timed-reading.ts";
import { GatewayError } from "../../../../lib/model/errors.ts";

function world(costMs: number, read: () => Promise<void> = async () => {}) {
  let [nowMs, cpuMs, readings] = [0, 0, 0];
  const pauses: number[] = [];
  const failures: string[] = [];
  let resume = () => {};
  const reading = new TimedReading({
    readers: [
      async () => {
        readings++;
        cpuMs += costMs;
        await read();
      },
    ],
    onFailure: ({ message }) => failures.push(message),
    unwantedMs: 10_000,
    nowMs: () => nowMs,
    cpuMs: () => cpuMs,
    pause: (ms) => {
      pauses.push(ms);
      return new Promise<void>((resolve) => {
        resume = () => {
          nowMs += ms;
          resolve();
        };
      });
    },
  });
  const pass = async () => {
    await turn();
    resume();
    await turn();
  };
  t.teardown(() => resume());
  return {
    reading,
    pauses,
    failures,
    pass,
    get readings() {
      return readings;
    },
  };
}

t.test("once at the start, then only while somebody scrapes", async (t) => {
  const it = world(1);
  it.reading.start();
  await it.pass();
  await it.pass();
  t.equal(it.readings, 1, "nobody scrapes");
  void it.reading.want();
  for (let looks = 0; looks < 10; looks++) await it.pass();
  t.equal(it.readings, 6, "for 10 s after a scrape, every 2 s");
  const stopped = it.reading.stop();
  await it.pass();
  await stopped;
});

t.test("a scrape after a long time waits for the counters of now, others do not", async (t) => {
  const gate: (() => void)[] = [];
  const it = world(1, () => new Promise((resolve) => gate.push(resolve)));
  const isDone = async (work: Promise<void>) => {
    const done = await Promise.race([work.then(() => true), turn().then(() => turn(false))]);
    return done;
  };
  t.ok(await isDone(it.reading.want()), "not before the start");
  it.reading.start();
  const first = it.reading.want();
  t.notOk(await isDone(first), "the first reading goes on");
  gate.shift()?.();
  t.ok(await isDone(first));
  t.ok(await isDone(it.reading.want()), "they are of now");
  for (let looks = 0; looks < 10; looks++) {
    await it.pass();
    gate.shift()?.();
  }
  await it.pass();
  const late = it.reading.want();
  t.notOk(await isDone(late), "nobody has scraped for 10 s");
  gate.shift()?.();
  t.ok(await isDone(late));
  const never = it.reading.want();
  const stopped = it.reading.stop();
  gate.shift()?.();
  await it.pass();
  await stopped;
  await never;
});

t.test("a slow reading is followed by a longer pause", async (t) => {
  for (const [costMs, pauseMs] of [
    [1, 2_000],
    [150, 15_000],
    [5_000, 60_000],
  ] as const) {
    const it = world(costMs);
    it.reading.start();
    await turn();
    t.same(it.pauses, [pauseMs]);
    const stopped = it.reading.stop();
    await it.pass();
    await stopped;
  }
});

t.test("a reading that fails is told, and the next one is tried", async (t) => {
  const it = world(1, async () => {
    throw new GatewayError("netlink-failed", "no answer");
  });
  it.reading.start();
  void it.reading.want();
  await it.pass();
  await it.pass();
  t.ok(it.readings > 1);
  t.equal(it.failures[0], "no answer");
  const stopped = it.reading.stop();
  await it.pass();
  await stopped;
});
