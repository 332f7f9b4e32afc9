import fc from "fast-check";
import t from "tap";
import { readJournal } from "../../../../agent/store/recovery.ts";
import { journalName } from "../../../../agent/store/set-aside.ts";
import { stateCodec } from "../../../../agent/store/state-codec.ts";
import { startStore } from "../../../../agent/store/store.ts";
import { reduce } from "../../../../lib/state/reduce.ts";
import type { State } from "../../../../lib/state/state.ts";
import { FakeDisk, type Fault } from "../../../support/fake-disk.ts";
import { type List, listCodec } from "../../../support/list-codec.ts";
import { transactionChanges } from "../../../support/state-arbitraries.ts";

const codec = stateCodec();
const quiet = { info() {}, warn() {}, error() {} };

/** Maps are compared in order too: older entries come first. */
const inOrder = (state: State): string => JSON.stringify(codec.encodeState(state));

t.test("written state is read back, across groups, compactions and restarts", async (t) => {
  let compactions = 0;
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.array(transactionChanges, { minLength: 1, maxLength: 4 }) },
    { weight: 1, arbitrary: fc.constant("reopen" as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const disk = new FakeDisk();
      const open = () =>
        startStore({ directory: disk.directory(), codec, now: () => 0, log: quiet, smallestCompacted: 1024 });
      let store = await open();
      let model = codec.empty;
      for (const what of [...steps, "reopen" as const]) {
        if (what === "reopen") {
          await store.close();
          store = await open();
          t.equal(store.recovery.recovered, model === codec.empty ? "fresh" : "intact");
        } else {
          const before = inOrder(model);
          for (const changes of what) model = reduce(model, changes);
          await Promise.all(what.map((changes) => store.transact(() => ({ changes, result: undefined }))));
          const bytes = disk.content(journalName) ?? Buffer.alloc(0);
          const line = bytes.lastIndexOf("\n", -2) + 1;
          for (let length = line; line > 0 && length < bytes.length; length += 1 + (length % 7)) {
            const cut = readJournal(bytes.subarray(0, length), codec).state;
            if (inOrder(cut) !== before) t.fail(`cut at ${length} is not the state before`);
          }
        }
        t.strictSame(store.current, model);
        t.equal(inOrder(store.current), inOrder(model));
      }
      compactions += disk.calls.filter((call) => call === "rename").length - 1;
    }),
    { numRuns: 100 },
  );
  t.ok(compactions > 10, `${compactions} compactions`);
});

t.test("any faults at any calls: what was acknowledged survives", async (t) => {
  const fault = fc.constantFrom<Fault>("fail", "fail", "short", "half", "crash");
  const fates = fc.array(fc.tuple(fc.nat(45), fault), { maxLength: 8 });
  let acknowledgedInAll = 0;
  await fc.assert(
    fc.asyncProperty(
      fates,
      fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 14 }),
      async (faults, groups) => {
        const disk = new FakeDisk();
        const open = (on: FakeDisk) =>
          startStore({
            directory: on.directory(),
            codec: listCodec,
            now: () => 0,
            log: quiet,
            smallestCompacted: 150,
          });
        const store = await open(disk);
        const fate = new Map(faults);
        disk.fate = (call) => fate.get(call);
        const acknowledged: number[] = [];
        let next = 1;
        for (const size of groups) {
          const numbers = Array.from({ length: size }, () => next++);
          const outcomes = await Promise.allSettled(
            numbers.map((number) => store.transact(() => ({ changes: [number], result: number }))),
          );
          for (const outcome of outcomes)
            if (outcome.status === "fulfilled") acknowledged.push(outcome.value.result);
        }
        acknowledgedInAll += acknowledged.length;
        t.strictSame(store.current, acknowledged);
        for (const left of disk.afterPowerCut()) {
          const state: List = (await open(left)).current;
          // After the acknowledged writes the last group may follow, if it was refused and every repair failed.
          t.strictSame(state.slice(0, acknowledged.length), acknowledged);
          t.ok(state.length - acknowledged.length <= 4);
        }
      },
    ),
    { numRuns: 300 },
  );
  t.ok(acknowledgedInAll > 1000, `${acknowledgedInAll} acknowledged`);
});
