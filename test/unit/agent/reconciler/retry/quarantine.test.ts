import t from "tap";
import { Quarantine } from "../../../../../agent/reconciler/retry/quarantine.ts";
import { reduce } from "../../../../../lib/state/reduce.ts";
import { emptyState, type StateChange } from "../../../../../lib/state/state.ts";

const put = (revision: number) => {
  const object = { spec: { name: "f", eip: "e", internalIp: "10.0.1.5" }, revision, creation: 1 };
  return { type: "put", kind: "fip", object } as unknown as StateChange;
};

t.test("an object that was refused is left out, and tried again later", async (t) => {
  let nowMs = 0;
  const quarantine = new Quarantine(() => nowMs);
  const state = reduce(emptyState, [put(1)]);
  t.equal(quarantine.dueInMs(), undefined);
  quarantine.record(state, "fips/f", "EINVAL");
  t.strictSame([...quarantine.objects], [["fips/f", "EINVAL"]]);
  t.equal(quarantine.dueInMs(), 10_000);
  quarantine.releaseRewritten(state);
  t.equal(quarantine.objects.size, 1, "it is as it was");
  nowMs = 10_000;
  t.equal(quarantine.objects.size, 0, "its time has come");
  quarantine.record(state, "fips/f", "EINVAL");
  t.equal(quarantine.dueInMs(), 20_000, "the next pause is longer");
});

t.test("an object that is rewritten or deleted is released at once", async (t) => {
  for (const change of [put(2), { type: "delete", kind: "fip", name: "f" } as StateChange]) {
    const quarantine = new Quarantine(() => 0);
    const state = reduce(emptyState, [put(1)]);
    quarantine.record(state, "fips/f", "EINVAL");
    quarantine.releaseRewritten(reduce(state, [change]));
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
      const tried = quarantine.due();
      if (outcome === "refused") quarantine.record(state, "fips/f", "EINVAL");
      quarantine.conclude(tried, () => outcome === "programmed");
      return quarantine.dueInMs();
    };
    t.equal(passAt(0, "refused"), 10_000);
    t.equal(passAt(5_000, "programmed"), 5_000, "no pass before the retry says anything of it");
    t.equal(passAt(10_000, "refused"), 20_000);
    t.equal(passAt(30_000, "unknown"), 20_000);
    t.equal(passAt(50_000, "programmed"), undefined, "nothing is due any more");
    t.equal(passAt(60_000, "refused"), 10_000, "a later refusal begins anew");
  },
);
