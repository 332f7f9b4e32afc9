import t from "tap";
import { Quarantine } from "../../../../../agent/reconciler/retry/quarantine.ts";
import { reduce } from "../../../../../lib/state/reduce.ts";
import { emptyState, type StateChange } from "../../../../../lib/state/state.ts";

const put = (revision: number) => {
  const object = { spec: { name: "f", eip: "e", internalIp: "10.0.1.5" }, revision, creation: 1 };
  return { type: "put", kind: "fip", object } as unknown as StateChange;
};

const refused = [{ object: "fips/f", code: "EINVAL", message: "EINVAL", isRejected: true }] as const;

t.test("an object that was refused is left out, and tried again later", async (t) => {
  let nowMs = 0;
  const quarantine = new Quarantine(() => nowMs);
  const state = reduce(emptyState, [put(1)]);
  t.equal(quarantine.dueInMs(), undefined);
  quarantine.record(state, refused);
  t.strictSame([...quarantine.objects], [["fips/f", "EINVAL"]]);
  t.equal(quarantine.dueInMs(), 10_000);
  quarantine.onPassStart(state, {});
  t.equal(quarantine.objects.size, 1, "the object did not change");
  nowMs = 10_000;
  t.equal(quarantine.objects.size, 0, "the next try is due");
  quarantine.record(state, refused);
  t.equal(quarantine.dueInMs(), 20_000, "the next pause is longer");
});

t.test("an object that is rewritten or deleted is released at once", async (t) => {
  for (const change of [put(2), { type: "delete", kind: "fip", name: "f" } as StateChange]) {
    const quarantine = new Quarantine(() => 0);
    const state = reduce(emptyState, [put(1)]);
    quarantine.record(state, refused);
    quarantine.onPassStart(reduce(state, [change]), {});
    t.equal(quarantine.objects.size, 0);
    t.equal(quarantine.dueInMs(), undefined);
  }
});

t.test(
  "an object whose retry succeeds is forgotten; one that could not be tried waits once more",
  async (t) => {
    let nowMs = 0;
    const quarantine = new Quarantine(() => nowMs);
    const state = reduce(emptyState, [put(1)]);
    const passAt = (ms: number, outcome: "refused" | "programmed" | "unknown") => {
      nowMs = ms;
      quarantine.onPassStart(state, {});
      if (outcome === "refused") quarantine.record(state, refused);
      quarantine.onJudged(() => outcome === "programmed");
      return quarantine.dueInMs();
    };
    t.equal(passAt(0, "refused"), 10_000);
    t.equal(passAt(5_000, "programmed"), 5_000, "a pass before the retry changes nothing");
    t.equal(passAt(10_000, "refused"), 20_000);
    t.equal(passAt(30_000, "unknown"), 20_000);
    t.equal(passAt(50_000, "programmed"), undefined, "nothing is due any more");
    t.equal(passAt(60_000, "refused"), 10_000, "a later refusal begins anew");
  },
);

t.test("only a failure that names its culprit leaves an object out", async (t) => {
  const quarantine = new Quarantine(() => 0);
  const state = reduce(emptyState, [put(1)]);
  quarantine.record(state, [
    { code: "EIO", message: "whole table" },
    { object: "fips/f", code: "EIO", message: "not its fault" },
    { code: "EIO", message: "no object", isRejected: true },
  ]);
  t.equal(quarantine.objects.size, 0);
});

t.test("on request every object is tried at once, and the pauses begin anew", async (t) => {
  let nowMs = 0;
  const quarantine = new Quarantine(() => nowMs);
  const state = reduce(emptyState, [put(1)]);
  quarantine.record(state, refused);
  nowMs = 10_000;
  quarantine.record(state, refused);
  t.equal(quarantine.dueInMs(), 20_000);
  quarantine.onPassStart(state, { isRetry: false });
  t.equal(quarantine.objects.size, 1, "a pass without request leaves it out");

  quarantine.onPassStart(state, { isRetry: true });
  t.equal(quarantine.objects.size, 0);
  quarantine.record(state, refused);
  quarantine.onJudged(() => false);
  t.equal(quarantine.dueInMs(), 10_000, "refused again");

  quarantine.onPassStart(state, { isRetry: true });
  quarantine.onJudged(() => false);
  t.equal(quarantine.dueInMs(), 10_000, "neither refused nor programmed");

  quarantine.onPassStart(state, { isRetry: true });
  quarantine.onJudged(() => true);
  t.equal(quarantine.dueInMs(), undefined, "programmed");
});
