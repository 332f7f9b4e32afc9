/**
 * Other programs change the journal's file and directory while an agent runs: nothing is acknowledged that would be
 * lost.
 */
import { existsSync } from "node:fs";
import {
  appendFile,
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { Log } from "../../../../agent/log.ts";
import { openStateDirectory } from "../../../../agent/store/directory.ts";
import { openStore, type StateStore } from "../../../../agent/store/open-store.ts";
import { readJournal } from "../../../../agent/store/recovery.ts";
import { journalName } from "../../../../agent/store/set-aside.ts";
import { stateCodec } from "../../../../agent/store/state-codec.ts";
import { startStore } from "../../../../agent/store/store.ts";
import { FakeDisk } from "../../../support/fake-disk.ts";
import { listCodec } from "../../../support/list-codec.ts";

const codec = stateCodec();
const nowMs = Date.UTC(2026, 7, 1, 12);
const aside = "state.journal.replaced-20260801T120000000Z";
const quiet: Pick<Log, "info" | "warn" | "error"> = { info() {}, warn() {}, error() {} };

const write = (store: StateStore) =>
  store.transact((state) => {
    const next = state.tombstones.size + 1;
    const changes = codec.decodeChanges([{ type: "tombstone", key: `eip/${next}`, untilMs: next }]);
    return { changes, result: undefined };
  });
/** The state that a new agent finds, however the current one ends. */
const found = async (directory: string) =>
  readJournal(await readFile(join(directory, journalName)), codec).state;

interface Place {
  readonly root: string;
  /** The state directory. */
  readonly directory: string;
  readonly journal: string;
}

interface Damage {
  /** The other files in the directory, after the journal was written again. */
  readonly leaves?: readonly string[];
  do(place: Place): Promise<unknown>;
}

const damages: Readonly<Record<string, Damage>> = {
  "the directory is removed": { do: ({ directory }) => rm(directory, { recursive: true }) },
  "the directory is removed with those above it": {
    do: ({ root }) => rm(join(root, "var"), { recursive: true }),
  },
  "the directory is renamed": { do: ({ root, directory }) => rename(directory, join(root, "moved")) },
  "the directory is replaced by an empty one": {
    do: async ({ root, directory }) => {
      await rename(directory, join(root, "moved"));
      await mkdir(directory);
    },
  },
  "the directory is replaced by a copy of itself": {
    leaves: [aside],
    do: async ({ root, directory, journal }) => {
      await rename(directory, join(root, "moved"));
      await mkdir(directory);
      await copyFile(join(root, "moved", journalName), journal);
    },
  },
  "the directory is replaced, the file is moved along": {
    do: async ({ root, directory, journal }) => {
      await rename(directory, join(root, "moved"));
      await mkdir(directory);
      await rename(join(root, "moved", journalName), journal);
    },
  },
  "the directory is a link that leads elsewhere now": {
    do: async ({ root, directory }) => {
      await rename(directory, join(root, "moved"));
      await mkdir(join(root, "other"));
      await symlink(join(root, "other"), directory);
    },
  },
  "the file is removed": { do: ({ journal }) => unlink(journal) },
  "the file is renamed": {
    leaves: ["state.journal.old"],
    do: ({ journal }) => rename(journal, `${journal}.old`),
  },
  "the file is replaced by a copy of itself": {
    leaves: [aside],
    do: async ({ journal }) => {
      await copyFile(journal, `${journal}.copy`);
      await rename(`${journal}.copy`, journal);
    },
  },
  "the file is replaced by another": {
    leaves: [aside],
    do: async ({ journal }) => {
      await unlink(journal);
      await writeFile(journal, "not a journal\n");
    },
  },
  "the file is replaced by another, as long as the journal is after the next write": {
    leaves: [aside],
    do: async ({ journal }) => {
      const bytes = await readFile(journal);
      const lineLength = bytes.length - bytes.lastIndexOf("\n", -2) - 1;
      await unlink(journal);
      await writeFile(journal, Buffer.alloc(bytes.length + lineLength, "x"));
    },
  },
  "the file is emptied": { do: ({ journal }) => truncate(journal) },
  "the file is cut": { do: ({ journal }) => truncate(journal, 300) },
  "the file is cut by one byte": {
    do: async ({ journal }) => truncate(journal, (await readFile(journal)).length - 1),
  },
  "the file is made longer": { do: ({ journal }) => appendFile(journal, "x") },
};

/** A store with three writes, and the warnings that it logs. */
async function writtenStore(t: Test) {
  const root = t.testdir();
  const directory = join(root, "var", "lib", "natgw");
  const place: Place = { root, directory, journal: join(directory, journalName) };
  const warnings: unknown[] = [];
  const log = { ...quiet, warn: (...line: readonly unknown[]) => warnings.push(line) };
  const store = await openStore({ directory, now: () => nowMs, log });
  for (let times = 0; times < 3; times++) await write(store);
  t.equal(warnings.length, 0);
  return { store, place, warnings };
}

for (const [what, { leaves = [], do: damage }] of Object.entries(damages)) {
  t.test(`${what}: the next check writes the whole state again`, async (t) => {
    const { store, place, warnings } = await writtenStore(t);
    const { directory } = place;
    await damage(place);
    await store.check();
    t.strictSame(await found(directory), store.current);
    t.same((await readdir(directory)).sort(), [journalName, ...leaves]);
    t.match(warnings[0], [{ directory }, /writing the whole state to a new file/]);
    const written = await readFile(place.journal);
    await store.check();
    t.same(await readFile(place.journal), written, "the next check finds nothing to do");
    await write(store);
    t.strictSame(await found(directory), store.current);
    await store.close();
  });

  t.test(`${what}: the next write writes the whole state again`, async (t) => {
    const { store, place, warnings } = await writtenStore(t);
    const { directory } = place;
    await damage(place);

    const { state } = await write(store);
    t.strictSame(await found(directory), state);
    t.same((await readdir(directory)).sort(), [journalName, ...leaves]);
    t.match(warnings[0], [{ directory }, /writing the whole state to a new file/]);
    t.equal(warnings.length, 1 + leaves.filter((name) => name === aside).length);
    await t.rejects(openStateDirectory(directory), { code: "already-running" }, "no other agent gets in");

    for (let times = 0; times < 3; times++) await write(store);
    t.strictSame(await found(directory), store.current, "and it goes on from there");
    t.equal(store.failure, undefined);
    await store.close();
    const again = await openStore({ directory, now: () => nowMs, log: quiet });
    t.equal(again.recovery.recovered, "intact");
    t.equal(again.current.tombstones.size, 7);
    await again.close();
  });
}

t.test(
  "another agent that has the new directory keeps it; the writes of this one are refused meanwhile",
  async (t) => {
    const root = t.testdir();
    const directory = join(root, "state");
    const store = await openStore({ directory, now: () => nowMs, log: quiet });
    await write(store);
    await rename(directory, join(root, "moved"));
    const other = await openStore({ directory, now: () => nowMs, log: quiet });
    await write(other);
    const theirs = await readFile(join(directory, journalName));

    for (let times = 0; times < 2; times++)
      await t.rejects(write(store), { code: "storage-unavailable", cause: { code: "already-running" } });
    t.same(await readFile(join(directory, journalName)), theirs);
    t.equal(store.current.tombstones.size, 1, "what was refused is not in force");
    t.equal(
      (await found(join(root, "moved"))).tombstones.size,
      1,
      "and not left where it was written either",
    );
    await other.close();

    await write(store);
    t.strictSame(await found(directory), store.current);
    t.same(await readFile(join(directory, aside)), theirs, "theirs is kept");
    await store.close();
  },
);

t.test("while the directory cannot be created again, writes are refused", async (t) => {
  const root = t.testdir();
  const directory = join(root, "var", "natgw");
  const store = await openStore({ directory, now: () => nowMs, log: quiet });
  await write(store);
  await rename(join(root, "var"), join(root, "moved"));
  await writeFile(join(root, "var"), "in the way");
  for (let times = 0; times < 2; times++) await t.rejects(write(store), { code: "storage-unavailable" });
  t.equal(store.current.tombstones.size, 1);
  await rm(join(root, "var"));
  await write(store);
  t.strictSame(await found(directory), store.current);
  await store.close();
});

t.test("a directory that is removed and put back is used again", async (t) => {
  const root = t.testdir();
  const directory = join(root, "state");
  const store = await openStore({ directory, now: () => nowMs, log: quiet });
  await write(store);
  await rename(directory, join(root, "moved"));
  await write(store);
  await rm(directory, { recursive: true });
  await rename(join(root, "moved"), directory);
  await write(store);
  t.strictSame(await found(directory), store.current);
  t.same((await readdir(directory)).sort(), [journalName, aside]);
  await t.rejects(openStateDirectory(directory), { code: "already-running" });
  await store.close();
});

t.test("a file that took the journal's name before it could be opened is not written to", async (t) => {
  const disk = new FakeDisk();
  const open = () =>
    startStore({ directory: disk.directory(), codec: listCodec, now: () => nowMs, log: quiet });
  const add = (store: Awaited<ReturnType<typeof open>>, number: number) =>
    store.transact(() => ({ changes: [number], result: undefined }));
  await add(await open(), 1);
  disk.fate = (_, operation) => (operation === "open" ? "fail" : undefined);
  const store = await open();
  const foreign = Buffer.from("somebody else's\n".repeat(100));
  disk.put(journalName, foreign);
  disk.fate = () => undefined;
  await add(store, 2);
  t.same(disk.content(aside), foreign);
  t.same((await open()).current, [1, 2]);
});

t.test("before the first write there is nothing to lose: the directory may be gone by then", async (t) => {
  const directory = join(t.testdir(), "state");
  const store = await openStore({ directory, now: () => nowMs, log: quiet });
  await rm(directory, { recursive: true });
  await write(store);
  t.strictSame(await found(directory), store.current);
  await store.close();
  t.ok(existsSync(directory));
});

t.test("a check that finds the journal in place reads and writes nothing", async (t) => {
  const disk = new FakeDisk();
  const store = await startStore({
    directory: disk.directory(),
    codec: listCodec,
    now: () => nowMs,
    log: quiet,
  });
  await store.check();
  t.equal(disk.content(journalName), undefined, "before the first write there is no journal");
  await store.transact(() => ({ changes: [1], result: undefined }));
  disk.calls = [];
  await store.check();
  t.same(disk.calls, ["look"]);
  await store.close();
  disk.calls = [];
  await store.check();
  t.same(disk.calls, [], "after the end");
});

t.test("a check that cannot write the journal reports it, and the next one tries again", async (t) => {
  const disk = new FakeDisk();
  const open = () =>
    startStore({ directory: disk.directory(), codec: listCodec, now: () => nowMs, log: quiet });
  const store = await open();
  await store.transact(() => ({ changes: [1], result: undefined }));
  await disk.directory().remove(journalName);
  disk.fate = (_, operation) => (operation === "write" ? "fail" : undefined);
  await store.check();
  t.match(store.failure, { code: "storage-unavailable" });
  disk.fate = () => undefined;
  await store.check();
  t.equal(store.failure, undefined);
  t.same((await open()).current, [1]);
});

t.test("a check and a write at once: both are done", async (t) => {
  const { store, place } = await writtenStore(t);
  await rm(place.directory, { recursive: true });
  await Promise.all([store.check(), write(store), store.check()]);
  t.equal(store.current.tombstones.size, 4);
  t.strictSame(await found(place.directory), store.current);
  await store.close();
});
