/**
 * Every file system call of a series of writes fails once, fails forever, is truncated, or is the last before a power
 * cut. In all cases acknowledged data is there when the journal is read back, and nothing is corrupt.
 */
import t from "tap";
import { journalName } from "../../../../agent/store/set-aside.ts";
import { startStore } from "../../../../agent/store/store.ts";
import { FakeDisk, type Fate, type Fault, type Operation } from "../../../support/fake-disk.ts";
import { type List, listCodec } from "../../../support/list-codec.ts";

/** So small that a run of few writes compacts twice. */
const smallestCompacted = 120;
const quiet = { info() {}, warn() {}, error() {} };
const open = (disk: FakeDisk) =>
  startStore({ directory: disk.directory(), codec: listCodec, now: () => 0, log: quiet, smallestCompacted });

/** The results of a run: writes by number, in the order of the requests. */
interface Run {
  readonly acknowledged: number[];
  refused: number[];
  readonly disk: FakeDisk;
}

/** Opens, writes alone and in groups, opens again half way, and never closes. */
async function run(fate: Fate): Promise<Run> {
  const disk = new FakeDisk();
  disk.fate = fate;
  const outcome: Run = { acknowledged: [], refused: [], disk };
  let next = 1;
  for (const groups of [
    [1, 2, 1, 3, 1, 1, 2, 1, 1],
    [1, 2, 1, 1, 4, 1],
  ]) {
    const store = await open(disk).catch(() => undefined);
    if (!store) continue;
    if (store.recovery.recovered === "corrupt") t.fail(store.recovery.detail);
    const wrong = complaint(outcome, store.current);
    if (wrong) t.fail(`read back in the run: ${wrong}`);
    // If the disk refused the write and every repair, the write may be there. From this start on it counts.
    const kept = outcome.refused.filter((number) => store.current.includes(number));
    outcome.acknowledged.push(...kept);
    outcome.refused = outcome.refused.filter((number) => !kept.includes(number));
    for (const size of groups) {
      const numbers = Array.from({ length: size }, () => next++);
      const writes = numbers.map((number) =>
        store
          .transact(() => ({ changes: [number], result: undefined }))
          .then(
            ({ state }) => {
              if (!state.includes(number))
                throw new Error("a write was acknowledged with a state without it");
              outcome.acknowledged.push(number);
            },
            () => outcome.refused.push(number),
          ),
      );
      await Promise.all(writes);
      const unseen = outcome.acknowledged.filter((number) => !store.current.includes(number));
      if (unseen.length > 0) throw new Error(`acknowledged but not current: ${unseen}`);
    }
  }
  return outcome;
}

/** What is wrong with the state read back, or undefined. */
function complaint({ acknowledged, refused }: Run, state: List): string | undefined {
  const lost = acknowledged.filter((number) => !state.includes(number));
  if (lost.length > 0) return `lost ${lost} of ${acknowledged}: ${state}`;
  const last = Math.max(0, ...acknowledged);
  const risen = refused.filter((number) => number < last && state.includes(number));
  if (risen.length > 0) return `refused ${risen} came back though ${last} was acknowledged later: ${state}`;
  if (state.some((number, index) => number <= (state[index - 1] ?? 0))) return `out of order: ${state}`;
  return undefined;
}

async function check(outcome: Run, what: string): Promise<number> {
  let variants = 0;
  for (const disk of outcome.disk.afterPowerCut()) {
    variants++;
    const store = await open(disk);
    const wrong = complaint(outcome, store.current);
    if (wrong) t.fail(`${what}, power cut ${variants}: ${wrong}`);
    if (store.recovery.recovered === "corrupt") t.fail(`${what}: ${store.recovery.detail}`);
    const { state } = await store.transact(() => ({ changes: [1000], result: undefined }));
    const again = await open(disk);
    if (again.current.join() !== state.join()) t.fail(`${what}: not writable after recovery`);
  }
  return variants;
}

t.test("without faults everything is acknowledged, and compaction happens", async (t) => {
  const outcome = await run(() => undefined);
  t.equal(outcome.refused.length, 0);
  t.ok(outcome.disk.calls.filter((call) => call === "rename").length >= 3, "first write and two compactions");
  await check(outcome, "no fault");
});

const once =
  (at: number, fault: Fault): Fate =>
  (call) =>
    call === at ? fault : undefined;
const writing: readonly Operation[] = ["open", "write", "sync", "truncate", "rename"];
const modes: Readonly<Record<string, (at: number) => Fate>> = {
  "fails once": (at) => once(at, "fail"),
  "fails from here on": (at) => (call) => (call >= at ? "fail" : undefined),
  "fails from here on while writing, for 6 calls": (at) => (call, operation) =>
    call >= at && call < at + 6 && writing.includes(operation) ? "fail" : undefined,
  "is cut short": (at) => once(at, "short"),
  "is cut short, then fails": (at) => (call) =>
    call === at ? "short" : call === at + 1 ? "fail" : undefined,
  "fails half way": (at) => once(at, "half"),
  "fails half way, and so does the repair": (at) => (call) =>
    call === at ? "half" : call === at + 1 ? "fail" : undefined,
  "fails, and so does the second call after it": (at) => (call) =>
    call === at || call === at + 2 ? "fail" : undefined,
  "is where the power goes": (at) => once(at, "crash"),
  "is cut short, and the power goes": (at) => (call) =>
    call === at ? "short" : call === at + 1 ? "crash" : undefined,
};

for (const [mode, fateAt] of Object.entries(modes)) {
  t.test(`every call ${mode}`, async (t) => {
    let at = 0;
    let variants = 0;
    for (; ; at++) {
      const outcome = await run(fateAt(at));
      variants += await check(outcome, `call ${at} (${outcome.disk.calls[at]}) ${mode}`);
      if (at >= outcome.disk.calls.length) break;
    }
    t.ok(at > 45, `${at} calls, ${variants} power cuts`);
    t.comment(`${at} calls, ${variants} power cuts`);
  });
}

t.test("after a failed sync no write to the old file is acknowledged", async (t) => {
  const disk = new FakeDisk();
  const store = await open(disk);
  const write = (number: number) => store.transact(() => ({ changes: [number], result: undefined }));
  await write(1);
  const old = disk.names.get(journalName);
  let failures = 1;
  disk.fate = (_, operation) => (operation === "sync" && failures-- > 0 ? "fail" : undefined);
  await t.rejects(write(2), { code: "storage-unavailable", cause: { code: "EIO" } });
  t.equal(store.failure?.code, "storage-unavailable");
  t.not(disk.names.get(journalName), old, "a new file took its place");
  await write(3);
  t.equal(store.failure, undefined);
  t.same(store.current, [1, 3]);
});

t.test("if a failed write cannot be truncated, a new file is written", async (t) => {
  const disk = new FakeDisk();
  const store = await open(disk);
  const write = (number: number) => store.transact(() => ({ changes: [number], result: undefined }));
  await write(1);
  const old = disk.names.get(journalName);
  const faults = new Map<Operation, Fault>([
    ["write", "half"],
    ["truncate", "fail"],
  ]);
  disk.fate = (_, operation) => {
    const fault = faults.get(operation);
    faults.delete(operation);
    return fault;
  };
  await t.rejects(write(2), { code: "storage-unavailable", cause: { code: "ENOSPC" } });
  t.not(disk.names.get(journalName), old);
  t.same((await open(disk)).current, [1]);
});

t.test("a full disk refuses writes and takes them again, from the same file", async (t) => {
  const disk = new FakeDisk();
  const store = await open(disk);
  const write = (number: number) => store.transact(() => ({ changes: [number], result: undefined }));
  await write(1);
  const old = disk.names.get(journalName);
  const before = disk.content(journalName);
  disk.fate = (_, operation) => (operation === "write" ? "half" : undefined);
  await t.rejects(write(2), { code: "storage-unavailable", cause: { code: "ENOSPC" } });
  await t.rejects(write(3), { code: "storage-unavailable" });
  t.same(store.current, [1]);
  t.same(disk.content(journalName), before, "nothing of them is left");
  disk.fate = () => undefined;
  await write(4);
  t.equal(disk.names.get(journalName), old);
  t.same((await open(disk)).current, [1, 4]);
});
