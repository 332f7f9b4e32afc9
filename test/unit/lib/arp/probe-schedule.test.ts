/** When addresses in conflict are probed, and in which order. */
import fc from "fast-check";
import t from "tap";
import { type ProbeGroup, ProbeSchedule } from "../../../../lib/arp/probe-schedule.ts";

interface Play {
  readonly fromMs?: number;
  readonly untilMs: number;
  readonly stepMs?: number;
  readonly max?: number;
  readonly chance?: number;
  /** Runs at each step. Absent: steps at which nothing is due are left out. */
  readonly before?: (nowMs: number) => void;
}

/** Probes at each step whatever is due. @returns when each task was probed */
function play(
  schedule: ProbeSchedule<string>,
  { fromMs = 0, untilMs, stepMs = 100, max = 50, chance = 0, before }: Play,
): Map<string, number[]> {
  const probed = new Map<string, number[]>();
  for (let nowMs = fromMs; nowMs < untilMs; nowMs += stepMs) {
    before?.(nowMs);
    const dueInMs = schedule.dueInMs(nowMs) ?? untilMs;
    if (before === undefined) nowMs += Math.ceil(dueInMs / stepMs) * stepMs;
    for (const task of schedule.take(nowMs, max)) {
      probed.set(task, [...(probed.get(task) ?? []), nowMs]);
      schedule.onResult(task, nowMs, chance);
    }
  }
  return probed;
}

function pauses(times: readonly number[] = []): readonly number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? 0));
}

t.test("every second at first, then less often, down to every five minutes", async (t) => {
  const day = 24 * 3_600_000;
  for (const chance of [0, 1]) {
    const schedule = new ProbeSchedule<string>();
    schedule.schedule("a", "addition", 0);
    const times = play(schedule, { untilMs: day, stepMs: 50, chance }).get("a") ?? [];
    const longest = (fromMs: number, toMs: number) =>
      Math.max(...pauses(times.filter((time) => time >= fromMs && time < toMs)));
    const spread = 1 + chance / 4;
    t.equal(times[0], 0);
    t.equal(longest(0, 120_000), 1_000 * spread);
    t.ok(longest(0, 240_000) <= 2_100 * spread, "every second or two for the first minutes");
    t.ok(longest(0, 3_600_000) <= 31_000 * spread);
    t.ok(longest(3_600_000, day) > 100_000, "less often later");
    t.ok(longest(0, day) <= 300_100 * spread);
  }
});

t.test("foreign packets neither lengthen a pause nor cause more than one probe per second", async () => {
  const groups = fc.constantFrom<ProbeGroup>("addition", "conflict", "claim");
  const reasons = fc.array(fc.tuple(fc.nat(400), fc.constantFrom("a", "b")), { maxLength: 400 });
  fc.assert(
    fc.property(groups, reasons, fc.double({ min: 0, max: 1, noNaN: true }), (group, reasons, chance) => {
      const times = (isDisturbed: boolean) => {
        const schedule = new ProbeSchedule<string>();
        schedule.schedule("a", group, 0);
        schedule.schedule("b", "claim", 0);
        const byStep = Map.groupBy(isDisturbed ? reasons : [], ([step]) => step);
        const before = (nowMs: number) => {
          for (const [, task] of byStep.get(nowMs / 1_000) ?? [])
            schedule.schedule(task, task === "a" ? group : "claim", nowMs);
        };
        return play(schedule, { untilMs: 400_000, stepMs: 500, chance, before }).get("a") ?? [];
      };
      const [quiet, disturbed] = [pauses(times(false)), pauses(times(true))];
      if (Math.max(...disturbed) > Math.max(...quiet)) return false;
      return Math.min(...disturbed) >= 1_000;
    }),
    { numRuns: 100 },
  );
});

t.test("tasks of an API call go first, at once, and then every second", async (t) => {
  const schedule = new ProbeSchedule<string>();
  schedule.schedule("old", "addition", 0);
  play(schedule, { untilMs: 7_200_000, stepMs: 1_000 });
  for (let number = 0; number < 1_000; number++) schedule.schedule(`other-${number}`, "addition", 7_200_000);
  schedule.scheduleNow("old", 7_200_000);
  schedule.scheduleNow("unknown", 7_200_000);
  t.equal(schedule.take(7_200_000, 50)[0], "old");
  schedule.scheduleNow("old", 7_200_100);
  t.notOk(schedule.take(7_200_100, 50).includes("old"), "not while an answer is awaited");
  t.ok(schedule.onResult("old", 7_200_200, 0));
  t.equal(schedule.take(7_200_200, 50)[0], "old", "but as soon as it is in");
  schedule.onResult("old", 7_200_300, 0);
  const times = play(schedule, { fromMs: 7_200_300, untilMs: 7_260_000, max: 500 }).get("old");
  t.strictSame([...new Set(pauses(times))], [1_000]);
});

t.test("a paused task is not probed, a cancelled one leaves nothing behind", async (t) => {
  const schedule = new ProbeSchedule<string>();
  t.equal(schedule.dueInMs(0), undefined);
  schedule.schedule("a", "claim", 0);
  t.equal(schedule.dueInMs(0), 0);
  t.strictSame(schedule.take(0, 1), ["a"]);
  t.equal(schedule.dueInMs(0), undefined, "it is awaited");
  schedule.pause("a");
  t.notOk(schedule.onResult("a", 200, 0), "nobody awaits the answer");
  t.strictSame([...play(schedule, { untilMs: 10_000 })], []);

  schedule.schedule("a", "claim", 300);
  t.equal(schedule.dueInMs(300), 700, "a second after the last time, pause or not");
  schedule.cancel("a");
  schedule.schedule("a", "claim", 400);
  t.equal(schedule.dueInMs(400), 0, "but of one that was cancelled nobody knows when that was");
  schedule.cancel("a");
  t.notOk(schedule.onResult("a", 500, 0));
  t.strictSame([...play(schedule, { untilMs: 10_000 })], []);
  schedule.pause("a");
  schedule.reschedule("a", "addition", 1_000, 0);
  t.equal(schedule.dueInMs(1_000), 1_000, "what was probed just now has time");
});

t.test("no group delays another, and no batch exceeds its limit", async (t) => {
  const groups = ["addition", "conflict", "claim"] as const satisfies readonly ProbeGroup[];
  for (const flooded of groups) {
    const schedule = new ProbeSchedule<string>();
    const flood = Array.from({ length: 3_000 }, (_, number) => `flood-${number}`);
    const others = groups.filter((group) => group !== flooded);
    for (const group of others) schedule.schedule(group, group, 0);
    let most = 0;
    const probed = new Map<string, number[]>();
    for (let nowMs = 0; nowMs < 30_000; nowMs += 100) {
      for (const task of flood) schedule.schedule(task, flooded, nowMs);
      const batch = schedule.take(nowMs, 50);
      most = Math.max(most, batch.length);
      for (const task of batch) {
        probed.set(task, [...(probed.get(task) ?? []), nowMs]);
        schedule.onResult(task, nowMs, 0);
      }
    }
    t.equal(most, 50);
    for (const group of others)
      t.strictSame(
        probed.get(group)?.slice(0, 5),
        [0, 1_000, 2_000, 3_000, 4_000],
        `${group} in a flood of ${flooded}`,
      );
    t.ok(
      flood.every((task) => (probed.get(task)?.length ?? 0) >= 4),
      "and each of the flood has its turn",
    );
  }
});

t.test("the address with the oldest probe goes before addresses that are claimed all the time", async (t) => {
  const schedule = new ProbeSchedule<string>();
  const flood = Array.from({ length: 2_000 }, (_, number) => `claim-${number}`);
  const claimFlood = (nowMs: number) => {
    for (const task of flood) schedule.schedule(task, "claim", nowMs);
  };
  schedule.schedule("old", "claim", 0);
  play(schedule, { untilMs: 100 });
  schedule.pause("old");
  play(schedule, { fromMs: 100, untilMs: 20_000, before: claimFlood });
  for (const task of ["new", "old"]) schedule.schedule(task, "claim", 20_000);
  t.strictSame(schedule.take(20_000, 2), ["new", "old"]);
});
