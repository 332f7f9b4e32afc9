/** Probes of contested addresses: repeated, at a bounded rate, also after failures. */
import t from "tap";
import { ArpQuestions } from "../../../../../agent/reconciler/eips/arp-questions.ts";
import { fromU32 } from "../../../../../lib/model/ipv4.ts";
import { answersIn, FakeWire, macOf, onNet1 } from "../../../../support/fake-wire.ts";

function setUp() {
  const wire = new FakeWire();
  const failures: unknown[] = [];
  const questions = new ArpQuestions({
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
      questions.look();
      await answersIn();
    }
  };
  return { wire, questions, about, answers, failures, lookUntil };
}

t.test("thousands share the rate fairly, and each purpose is probed separately", async (t) => {
  const { wire, questions, about, lookUntil } = setUp();
  const addresses = Array.from({ length: 2_000 }, (_, number) => fromU32(0xc6120000 + number));
  for (const [index, address] of addresses.entries()) {
    wire.holders.set(address, macOf(1));
    questions.ask(about(address, index % 2 === 0 ? "take" : "keep"), index % 2 === 0 ? "wanted" : "conflict");
  }
  await lookUntil(20_000);
  const perSecond = Map.groupBy(wire.asked, ({ atMs }) => Math.floor(atMs / 1_000));
  for (const [second, asked] of perSecond) {
    const count = asked.reduce((sum, one) => sum + one.addresses.length, 0);
    t.equal(count, 500, `in second ${second}`);
  }
  const times = addresses.map((address) => wire.timesAsked(address));
  t.ok(
    Math.min(...times) >= 3,
    "what the third lane does not need goes to the first, and the second has its share",
  );
  const odd = new Set(addresses.filter((_, index) => index % 2 === 1));
  t.ok(wire.asked.every((one) => one.addresses.every((each) => odd.has(each) === (one.purpose === "keep"))));
});

t.test("an urgent question resolves after a probe that began after the call", async (t) => {
  const { wire, questions, about, answers, lookUntil } = setUp();
  const [one, two] = [about("203.0.113.10"), about("203.0.113.11")];
  questions.ask(one, "wanted");
  questions.ask(two, "wanted");
  wire.holders.set(one.place.address, macOf(1));
  await lookUntil(500);
  t.strictSame(answers, [
    ["203.0.113.10", macOf(1)],
    ["203.0.113.11", undefined],
  ]);

  // A probe is already under way: the caller waits for the one after it.
  wire.nowMs = 1_000;
  questions.look();
  let isDone = false;
  const done = questions.askNow([one]).then(() => {
    isDone = true;
  });
  await answersIn();
  t.notOk(isDone);
  wire.nowMs = 1_100;
  questions.look();
  await done;
  t.equal(wire.timesAsked("203.0.113.10"), 3);

  await questions.askNow([]);
  const forgotten = questions.askNow([one]);
  questions.forget(one);
  await forgotten;
  const resting = questions.askNow([two]);
  questions.rest(two);
  await resting;
  questions.ask(two, "wanted");
  const stopped = questions.askNow([two]);
  await questions.stop();
  await stopped;
  await questions.askNow([two]);
});

t.test("if probing fails nothing is reported, and it is retried", async (t) => {
  const { wire, questions, about, answers, failures, lookUntil } = setUp();
  questions.ask(about("203.0.113.10"), "wanted");
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
  const { wire, questions, about, answers } = setUp();
  const question = about("203.0.113.10");
  questions.ask(question, "wanted");
  questions.look();
  questions.forget(question);
  await answersIn();
  t.strictSame(answers, []);
  t.equal(wire.frames, 1);
});

t.test("its own timer probes until stop", async (t) => {
  const wire = new FakeWire();
  const questions = new ArpQuestions({
    announcer: wire,
    nowMs: () => performance.now(),
    random: () => 0,
    onFailure: () => t.fail("nothing fails"),
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const question = {
    place: onNet1("203.0.113.10"),
    purpose: "take" as const,
    onAnswer: () => ++count > 1 && resolve(),
  };
  questions.ask(question, "wanted");
  t.equal(wire.frames, 0, "not before the start");
  questions.start();
  await promise;
  await questions.stop();
  await questions.stop();
  questions.ask(question, "wanted");
  questions.look();
  await answersIn();
  t.strictSame([count, wire.frames], [2, 2]);
});
