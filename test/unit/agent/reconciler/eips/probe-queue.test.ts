/** Probes of addresses in conflict: repeated, at a bounded rate, also after failures. */
import t from "tap";
import { ProbeQueue } from "../../../../../agent/reconciler/eips/probe-queue.ts";
import { fromU32 } from "../../../../../lib/model/ipv4.ts";
import { answersIn, FakeWire, macOf, onNet1 } from "../../../../support/fake-wire.ts";

function setUp() {
  const wire = new FakeWire();
  const failures: unknown[] = [];
  const queue = new ProbeQueue({
    announcer: wire,
    nowMs: () => wire.nowMs,
    random: () => 0,
    onFailure: (error) => failures.push(error),
  });
  const answers: [string, string | undefined][] = [];
  const about = (address: string, purpose: "take" | "keep" = "take") => ({
    place: onNet1(address),
    purpose,
    onAnswer: (mac: string | undefined) => void answers.push([address, mac]),
  });
  const lookUntil = async (untilMs: number) => {
    for (; wire.nowMs < untilMs; wire.nowMs += 100) {
      queue.sendDue();
      await answersIn();
    }
  };
  return { wire, queue, about, answers, failures, lookUntil };
}

t.test("thousands share the rate fairly, and each purpose is probed separately", async (t) => {
  const { wire, queue, about, lookUntil } = setUp();
  const addresses = Array.from({ length: 2_000 }, (_, number) => fromU32(0xc6120000 + number));
  for (const [index, address] of addresses.entries()) {
    wire.holders.set(address, macOf(1));
    queue.schedule(
      about(address, index % 2 === 0 ? "take" : "keep"),
      index % 2 === 0 ? "addition" : "conflict",
    );
  }
  await lookUntil(20_000);
  const perSecond = Map.groupBy(wire.probed, ({ atMs }) => Math.floor(atMs / 1_000));
  for (const [second, probed] of perSecond) {
    const count = probed.reduce((sum, one) => sum + one.addresses.length, 0);
    t.equal(count, 500, `in second ${second}`);
  }
  const times = addresses.map((address) => wire.timesProbed(address));
  t.ok(
    Math.min(...times) >= 3,
    "what the third group does not need goes to the first, and the second has its share",
  );
  const odd = new Set(addresses.filter((_, index) => index % 2 === 1));
  t.ok(wire.probed.every((one) => one.addresses.every((each) => odd.has(each) === (one.purpose === "keep"))));
});

t.test("an urgent task resolves after a probe that began after the call", async (t) => {
  const { wire, queue, about, answers, lookUntil } = setUp();
  const [one, two] = [about("203.0.113.10"), about("203.0.113.11")];
  queue.schedule(one, "addition");
  queue.schedule(two, "addition");
  wire.holders.set(one.place.address, macOf(1));
  await lookUntil(500);
  t.strictSame(answers, [
    ["203.0.113.10", macOf(1)],
    ["203.0.113.11", undefined],
  ]);

  // A probe is already under way: the caller waits for the one after it.
  wire.nowMs = 1_000;
  queue.sendDue();
  let isDone = false;
  const done = queue.scheduleNow([one]).then(() => {
    isDone = true;
  });
  await answersIn();
  t.notOk(isDone);
  wire.nowMs = 1_100;
  queue.sendDue();
  await done;
  t.equal(wire.timesProbed("203.0.113.10"), 3);

  await queue.scheduleNow([]);
  const cancelled = queue.scheduleNow([one]);
  queue.cancel(one);
  await cancelled;
  const paused = queue.scheduleNow([two]);
  queue.pause(two);
  await paused;
  queue.schedule(two, "addition");
  const stopped = queue.scheduleNow([two]);
  await queue.stop();
  await stopped;
  await queue.scheduleNow([two]);
});

t.test("if probing fails nothing is reported, and it is retried", async (t) => {
  const { wire, queue, about, answers, failures, lookUntil } = setUp();
  queue.schedule(about("203.0.113.10"), "addition");
  wire.isDown = true;
  await lookUntil(1_000);
  wire.isDown = false;
  wire.failure = new Error("no socket");
  await lookUntil(2_000);
  t.strictSame([answers, failures], [[], [wire.failure]]);
  wire.failure = undefined;
  await lookUntil(2_500);
  t.strictSame(answers, [["203.0.113.10", undefined]]);
});

t.test("a late reply is ignored", async (t) => {
  const { wire, queue, about, answers } = setUp();
  const task = about("203.0.113.10");
  queue.schedule(task, "addition");
  queue.sendDue();
  queue.cancel(task);
  await answersIn();
  t.strictSame(answers, []);
  t.equal(wire.frames, 1);
});

t.test("its own timer probes until stop", async (t) => {
  const wire = new FakeWire();
  const queue = new ProbeQueue({
    announcer: wire,
    nowMs: () => performance.now(),
    random: () => 0,
    onFailure: () => t.fail("nothing fails"),
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const task = {
    place: onNet1("203.0.113.10"),
    purpose: "take" as const,
    onAnswer: () => ++count > 1 && resolve(),
  };
  queue.schedule(task, "addition");
  t.equal(wire.frames, 0, "not before the start");
  queue.start();
  await promise;
  await queue.stop();
  await queue.stop();
  queue.schedule(task, "addition");
  queue.sendDue();
  await answersIn();
  t.strictSame([count, wire.frames], [2, 2]);
});
