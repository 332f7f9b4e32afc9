import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import type { Log } from "../../../../agent/log.ts";
import { openStateDirectory } from "../../../../agent/store/directory.ts";
import { openStore, type StateStore } from "../../../../agent/store/open-store.ts";
import { encodeChunked, encodeRecord } from "../../../../agent/store/records.ts";
import { readJournal } from "../../../../agent/store/recovery.ts";
import { journalName, temporaryName } from "../../../../agent/store/set-aside.ts";
import { stateCodec } from "../../../../agent/store/state-codec.ts";
import { type Store, startStore } from "../../../../agent/store/store.ts";
import type { State, StateChange } from "../../../../lib/state/state.ts";
import { FakeDisk } from "../../../support/fake-disk.ts";
import { type List, listCodec } from "../../../support/list-codec.ts";

const nowMs = Date.UTC(2026, 7, 1, 12);
const quiet: Pick<Log, "info" | "warn" | "error"> = { info() {}, warn() {}, error() {} };
const openAt = (directory: string) => openStore({ directory, now: () => nowMs, log: quiet });
const codec = stateCodec();

/** Only the decoder of a codec adds the brands, so values written by hand go through it. */
const changes = (...list: readonly object[]): readonly StateChange[] => codec.decodeChanges(list);
const eip = (name: string, last: number, creation: number) => ({
  type: "put",
  kind: "eip",
  object: { spec: { name, address: `203.0.113.${last}/24` }, revision: creation, creation },
});
const write = (store: StateStore, ...list: readonly object[]) =>
  store.transact(() => ({ changes: changes(...list), result: undefined }));

async function close(store: { close(): Promise<void> }, ...others: readonly { close(): Promise<void> }[]) {
  for (const each of [store, ...others]) await each.close();
}

t.test("a fresh directory is unset, private, and written only by the first write", async (t) => {
  const directory = join(t.testdir(), "var", "lib", "natgw");
  const store = await openAt(directory);
  t.same(store.recovery, { recovered: "fresh", detail: "" });
  t.equal(store.current.isSet, false);
  t.same(await readdir(directory), []);
  t.equal((await stat(directory)).mode & 0o777, 0o700);

  await write(store, eip("eip-a", 10, 1), { type: "revision", revision: 1 });
  t.same(await readdir(directory), [journalName]);
  t.equal((await stat(join(directory, journalName))).mode & 0o777, 0o600);
  await write(store, eip("eip-b", 11, 2), { type: "revision", revision: 2 });
  const { current } = store;
  await close(store, store);
  await t.rejects(write(store, eip("eip-c", 12, 3)), { code: "storage-unavailable" });

  const again = await openAt(directory);
  t.same(again.recovery, { recovered: "intact", detail: "" });
  t.strictSame(again.current, current);
  await again.close();
});

t.test("one line per group, each readable separately", async (t) => {
  const directory = t.testdir();
  const store = await openAt(directory);
  await write(store, eip("eip-a", 10, 1), { type: "revision", revision: 1 });
  const ledgerAdd = (last: number) => ({ type: "ledger-add", entries: [`net1 203.0.113.${last}/24`] });
  await Promise.all([
    write(store, ledgerAdd(10), ledgerAdd(11)),
    write(store, ledgerAdd(12), { type: "retire", addresses: ["203.0.113.9"] }),
  ]);
  await store.close();
  const lines = (await readFile(join(directory, journalName), "utf8")).trimEnd().split("\n");
  t.equal(lines.length, 2);
  t.match(lines[0], /^[0-9a-f]{8} \{"format":2,"seq":1,"snapshot":\{"isSet":true,"revision":1/);
  t.match(
    lines[1],
    /^[0-9a-f]{8} \{"seq":2,"changes":\[\{"type":"ledger-add","entries":\["net1 203.0.113.10\/24","net1 203.0.113.11\/24","net1 203.0.113.12\/24"\]\},\{"type":"retire","addresses":\["203.0.113.9"\]\}\]\}$/,
  );
});

t.test("a second opener is refused, in this process or another", async (t) => {
  const directory = t.testdir();
  const store = await openAt(directory);
  await t.rejects(openAt(directory), { code: "already-running" });
  await store.close();
  const module = join(import.meta.dirname, "../../../../agent/store/directory.ts");
  const holder = spawn(
    process.execPath,
    [
      "-e",
      `import(${JSON.stringify(module)}).then((m) => m.openStateDirectory(${JSON.stringify(directory)})).then((d) => { console.log("held"); setInterval(() => d, 1e6); })`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  t.teardown(() => holder.kill("SIGKILL"));
  await once(holder.stdout, "data");
  await t.rejects(openAt(directory), { code: "already-running" });
  holder.kill("SIGKILL");
  await once(holder, "exit");
  await (await openAt(directory)).close();
});

t.test("a directory that cannot be used is an error, never an empty state", async (t) => {
  const directory = t.testdir({ file: "", [journalName]: {} });
  await t.rejects(openAt(join(directory, "file")), {
    code: "storage-unavailable",
    message: /^NATGW_STATE_DIR: cannot open the state directory \S+file: EEXIST/,
  });
  await t.rejects(openAt(directory), { code: "storage-unavailable", cause: { code: "EISDIR" } });
  t.same(await readdir(directory), ["file", journalName]);
});

/** A journal of three groups, and the states after each line. */
async function journal(directory: string): Promise<{ bytes: Buffer; ends: number[]; states: State[] }> {
  const store = await openAt(directory);
  const states: State[] = [];
  for (const [index, name] of ["eip-a", "eip-b", "eip-c"].entries()) {
    const { state } = await write(store, eip(name, 10 + index, index + 1), {
      type: "revision",
      revision: index + 1,
    });
    states.push(state);
  }
  await store.close();
  const bytes = await readFile(join(directory, journalName));
  const ends = [...bytes.entries()].filter(([, byte]) => byte === 10).map(([at]) => at + 1);
  return { bytes, ends, states };
}

t.test("cut at any byte: the state before the last write or after it, never between", async (t) => {
  const { bytes, ends, states } = await journal(t.testdir());
  const [snapshotEnd = 0] = ends;
  for (let length = 0; length <= bytes.length; length++) {
    const reading = readJournal(bytes.subarray(0, length), codec);
    const whole = ends.filter((end) => end <= length).length;
    const expected = length < snapshotEnd ? "corrupt" : ends.includes(length) ? "intact" : "torn";
    if (reading.journalState !== expected)
      t.fail(`${reading.journalState} where cut at ${length}: ${reading.detail}`);
    const state = whole === 0 ? codec.empty : states[whole - 1];
    t.strictSame(reading.state, state, `cut at ${length}`);
  }
});

t.test("any one flipped bit is found, and never taken for a torn write", async (t) => {
  const { bytes } = await journal(t.testdir());
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
    const { journalState } = readJournal(flipped, codec);
    if (journalState !== "corrupt") t.fail(`${journalState}: bit ${bit & 7} of byte ${bit >> 3}`);
  }
  t.pass(`${bytes.length * 8} bits`);
});

t.test("sectors of the last write that never reached the disk make it torn", async (t) => {
  const { bytes, ends, states } = await journal(t.testdir());
  const [, last = 0] = ends;
  for (let from = last; from < bytes.length; from++) {
    for (const to of [from + 1, from + 2, bytes.length - 1, bytes.length]) {
      // A hole of one byte is tried at both ends of each line. Inside a line, holes begin and end at sectors.
      if (to > bytes.length || (to === from + 1 && from !== last && to !== bytes.length) || from === to)
        continue;
      const holed = Buffer.from(bytes).fill(0, from, to);
      const { journalState, state } = readJournal(holed, codec);
      if (journalState !== "torn") t.fail(`${journalState}: ${from} to ${to} of ${bytes.length}`);
      t.strictSame(state, states[1], `${from} to ${to}`);
    }
  }
});

t.test("valid checksums over invalid content are corrupt", async (t) => {
  const empty = { isSet: false, revision: 0, generation: 0, nextCreation: 1, gateway: {} };
  const lists = { eips: [], fips: [], snats: [], dnats: [], routes: [], tombstones: [], leases: [] };
  const ledger = { epoch: "", addresses: [], retired: [] };
  const snapshot = { ...empty, ...lists, ledger };
  const first = { format: 1, seq: 4, snapshot };
  const next = (list: unknown) => ({ seq: 5, changes: list });
  const cases: readonly [string, readonly unknown[]][] = [
    ["a snapshot of format 1 that says 2", [{ ...first, format: 2 }]],
    ["a format that is none", [{ ...first, format: 0 }]],
    ["a format that is no number", [{ ...first, format: "2" }]],
    ["no snapshot", [next([])]],
    ["a gap in seq", [first, { seq: 6, changes: [] }]],
    ["a group twice", [first, next([]), next([])]],
    ["a bad address", [first, next([eip("eip-a", 256, 1)])]],
    ["a FIP under eip", [first, next([{ ...eip("a", 1, 1), kind: "fip" }])]],
    ["a change without a type", [first, next([{ kind: "eip", name: "eip-a" }])]],
    ["a deletion without a kind", [first, next([{ type: "delete", name: "eip-a" }])]],
    ["a ledger key without interface", [first, next([{ type: "ledger-add", entries: ["10.0.0.1/24"] }])]],
    ["changes that are no list", [first, next({})]],
    ["a number", [1]],
  ];
  t.equal(readJournal(Buffer.concat([first, next([])].map(encodeRecord)), codec).journalState, "intact");
  for (const [what, records] of cases) {
    const reading = readJournal(Buffer.concat(records.map(encodeRecord)), codec);
    t.match(reading, { journalState: "corrupt", state: codec.empty, detail: /./ }, what);
  }
  t.equal(readJournal(Buffer.alloc(0), codec).journalState, "corrupt", "an empty file is none of ours");
});

t.test("a torn write is set aside, cut off, and the journal goes on", async (t) => {
  const directory = t.testdir();
  const { bytes, states } = await journal(directory);
  await truncate(join(directory, journalName), bytes.length - 3);
  await writeFile(join(directory, temporaryName), "half a compaction");
  const store = await openAt(directory);
  const aside = "state.journal.torn-20260801T120000000Z";
  t.match(store.recovery, { recovered: "torn", setAside: join(directory, aside), detail: /incomplete/ });
  t.strictSame(store.current, states[1]);
  t.same((await readdir(directory)).sort(), [journalName, aside]);
  const { state } = await write(store, eip("eip-d", 14, 9));
  await store.close();
  const again = await openAt(directory);
  t.equal(again.recovery.recovered, "intact");
  t.strictSame(again.current, state);
  await again.close();
});

t.test("a corrupt journal is set aside and stays the reason until something is written", async (t) => {
  const directory = t.testdir();
  const { bytes } = await journal(directory);
  bytes[20] = 0x7e;
  await writeFile(join(directory, journalName), bytes);
  const aside = "state.journal.corrupt-20260801T120000000Z";
  for (const detail of [/checksum/, /earlier start/]) {
    const store = await openAt(directory);
    t.match(store.recovery, { recovered: "corrupt", setAside: join(directory, aside), detail });
    t.strictSame(store.current, codec.empty);
    await store.close();
  }
  t.same(await readdir(directory), [aside]);
  t.same(await readFile(join(directory, aside)), bytes, "byte for byte");
  const store = await openAt(directory);
  await write(store, { type: "revision", revision: 1 });
  await store.close();
  const again = await openAt(directory);
  t.same(again.recovery, { recovered: "intact", detail: "" });
  await again.close();
});

t.test("eight files of each kind are kept", async (t) => {
  const directory = t.testdir();
  await journal(directory);
  for (let round = 0; round < 11; round++) {
    await writeFile(join(directory, journalName), "nonsense\n");
    const store = await openAt(directory);
    t.equal(store.recovery.recovered, "corrupt");
    t.ok((await stat(store.recovery.setAside ?? "")).isFile());
    await store.close();
  }
  t.equal((await readdir(directory)).length, 8);
});

t.test("a corrupt journal that cannot be moved is never overwritten", async (t) => {
  const disk = new FakeDisk();
  disk.put(journalName, Buffer.from("nonsense\n"));
  disk.fate = (_, operation) => (operation === "rename" ? "fail" : undefined);
  const store = await openList(disk);
  t.match(store.recovery, { recovered: "corrupt", detail: /checksum/ });
  await t.rejects(add(store, 1), { code: "storage-unavailable" });
  t.equal(disk.content(journalName)?.toString(), "nonsense\n");
  disk.fate = () => undefined;
  await add(store, 2);
  t.equal(disk.content("state.journal.corrupt-20260801T120000000Z")?.toString(), "nonsense\n");
  t.same((await openList(disk)).current, [2]);
});

const openList = (disk: FakeDisk, log = quiet, smallestCompacted = 1e6): Promise<Store<List, number>> =>
  startStore({ directory: disk.directory(), codec: listCodec, now: () => nowMs, log, smallestCompacted });
const add = (store: Store<List, number>, ...numbers: readonly number[]) =>
  store.transact(() => ({ changes: numbers, result: undefined }));

t.test("waiting transactions share one write and one sync, each with its own state", async (t) => {
  const disk = new FakeDisk();
  const store = await openList(disk);
  await add(store, 0);
  disk.calls = [];
  const seen: List[] = [];
  const results = await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      store
        .transact((state) => {
          seen.push(state);
          if (index === 50) throw new RangeError("its own affair");
          return { changes: [index], result: index };
        })
        .catch((error: unknown) => error),
    ),
  );
  t.same(disk.calls, ["write", "look", "sync"]);
  t.type(results[50], RangeError);
  t.same(results[3], { state: [0, 0, 1, 2, 3], result: 3 });
  t.equal(seen.at(-1)?.length, 99, "each decided on the newest");
  t.equal(store.current.length, 100);
});

t.test("nothing is visible before it is durable", async (t) => {
  const disk = new FakeDisk();
  const store = await openList(disk);
  await add(store, 1);
  const events: unknown[] = [];
  const stop = store.onChange((state, list) => events.push([state, list]));
  const inner = disk.fate;
  disk.fate = (call, operation) => {
    if (operation === "write" || operation === "sync") events.push([operation, store.current]);
    return inner(call, operation);
  };
  await Promise.all([add(store, 2), add(store, 3, 4)]);
  t.same(events, [
    ["write", [1]],
    ["sync", [1]],
    [
      [1, 2, 3, 4],
      [2, 3, 4],
    ],
  ]);
  stop();
  await add(store, 5);
  t.same(
    events.slice(3),
    [
      ["write", [1, 2, 3, 4]],
      ["sync", [1, 2, 3, 4]],
    ],
    "no longer told",
  );
});

t.test("answers are based on durable state, also refusals", async (t) => {
  const disk = new FakeDisk();
  const store = await openList(disk);
  await add(store, 1);
  disk.fate = (_, operation) => (operation === "write" ? "fail" : undefined);
  const nothing = () => store.transact((state) => ({ changes: [], result: state }));
  const clash = () =>
    store.transact(() => {
      throw new RangeError("2 is taken");
    });
  const outcomes = await Promise.allSettled([nothing(), clash(), add(store, 2), nothing(), clash()]);
  t.match(outcomes, [
    { status: "fulfilled", value: { state: [1], result: [1] } },
    { status: "rejected", reason: RangeError },
    { status: "rejected", reason: { code: "storage-unavailable", cause: { code: "EIO" } } },
    { status: "rejected", reason: { code: "storage-unavailable" } },
    { status: "rejected", reason: { code: "storage-unavailable" } },
  ]);
  t.same(store.current, [1]);
});

t.test("a transaction without changes writes nothing", async (t) => {
  const disk = new FakeDisk();
  const store = await openList(disk);
  disk.calls = [];
  store.onChange(() => t.fail("nothing changed"));
  t.same(await store.transact(() => ({ changes: [], result: 7 })), { state: [], result: 7 });
  t.same(disk.calls, []);
});

t.test("a listener that throws is logged, and stops neither the writer nor the others", async (t) => {
  const logged: unknown[] = [];
  const store = await openList(new FakeDisk(), {
    ...quiet,
    error: (...line: unknown[]) => logged.push(line),
  });
  const heard: number[] = [];
  store.onChange(() => {
    throw new Error("broken listener");
  });
  store.onChange((_, list) => heard.push(...list));
  await add(store, 1);
  await add(store, 2);
  t.same(heard, [1, 2]);
  t.match(logged, [[{ err: { message: "broken listener" } }], [{ err: { message: "broken listener" } }]]);
});

t.test("a failure and a recovery log one line each", async (t) => {
  const disk = new FakeDisk();
  const lines: unknown[] = [];
  const log = {
    info: (_: unknown, message?: string) => lines.push(message),
    warn: () => undefined,
    error: (_: unknown, message?: string) => lines.push(message),
  };
  const store = await openList(disk, log);
  disk.fate = (_, operation) => (operation === "open" ? "fail" : undefined);
  for (const number of [1, 2, 3]) await t.rejects(add(store, number), { code: "storage-unavailable" });
  disk.fate = () => undefined;
  await add(store, 4);
  t.same(lines, ["cannot store the state", "state writes work again"]);
});

t.test("close writes what was queued, and no more", async (t) => {
  const disk = new FakeDisk();
  const store = await openList(disk);
  const writes = Array.from({ length: 300 }, (_, index) => add(store, index));
  const closed = store.close();
  await t.rejects(add(store, 1000), { code: "storage-unavailable" });
  await closed;
  await Promise.all(writes);
  t.equal((await openList(disk)).current.length, 300);
});

t.test("a disk that hangs makes the queue refuse, not grow", async (t) => {
  const store = await openList(new FakeDisk());
  const writes = Array.from({ length: 5000 }, (_, index) => add(store, index));
  const outcomes = await Promise.allSettled(writes);
  t.equal(outcomes.filter(({ status }) => status === "rejected").length, 5000 - 4096);
  t.match(outcomes[4096], { reason: { code: "storage-unavailable", message: /disk is too slow/ } });
});

t.test("compaction: bounded by the snapshot, and its failure stops nothing", async (t) => {
  const directory = t.testdir();
  const store = await openAt(directory);
  const big = Array.from({ length: 2000 }, (_, index) => ({
    type: "tombstone",
    key: `eip/${"x".repeat(100)}${index}`,
    untilMs: index,
  }));
  let largest = 0;
  for (let round = 0; round < 20; round++) {
    await write(store, ...big);
    // The next transaction runs after the compaction that this one may cause.
    await store.transact(() => ({ changes: [], result: undefined }));
    largest = Math.max(largest, (await stat(join(directory, journalName))).size);
  }
  const { current } = store;
  await store.close();
  t.ok(largest < 1_600_000, `${largest} bytes at most`);
  const again = await openAt(directory);
  t.strictSame(again.current, current);
  // Compaction cannot create its file: a directory has its name.
  await mkdir(join(directory, temporaryName));
  for (let round = 0; round < 10; round++) await write(again, ...big);
  await again.close();
  t.ok((await stat(join(directory, journalName))).size > 2_000_000);
  const last = await openAt(directory);
  t.strictSame(last.current, current);
  await last.close();
});

t.test("a compaction that failed is not tried again at every write", async (t) => {
  const disk = new FakeDisk();
  const store = await openList(disk, quiet, 200);
  await add(store, 1);
  disk.fate = (_, operation) => (operation === "open" ? "fail" : undefined);
  disk.calls = [];
  for (let number = 0; number < 50; number++) await add(store, number);
  const tries = disk.calls.filter((call) => call === "open").length;
  t.ok(tries > 2 && tries < 15, `${tries} tries`);
  t.same((await openList(new FakeDisk().put(journalName, disk.content(journalName)))).current, store.current);
});

t.test("a read-only directory is read, and written again once it is writable", async (t) => {
  const disk = new FakeDisk();
  await add(await openList(disk), 1);
  const old = disk.names.get(journalName);
  disk.fate = (_, operation) => (operation === "open" ? "fail" : undefined);
  const store = await openList(disk);
  t.same(store.current, [1]);
  await t.rejects(add(store, 2), { code: "storage-unavailable" });
  disk.fate = () => undefined;
  await add(store, 3);
  t.equal(disk.names.get(journalName), old, "the same file: a new one takes room that there may not be");
  t.same((await openList(disk)).current, [1, 3]);
});

t.test("a torn write is cut off even if there is no room to keep it", async (t) => {
  const disk = new FakeDisk();
  await add(await openList(disk), 1);
  const whole = disk.content(journalName) ?? Buffer.alloc(0);
  const torn = new FakeDisk().put(journalName, Buffer.concat([whole, Buffer.from("0123")]));
  torn.fate = (_, operation) => (operation === "write" ? "half" : undefined);
  const store = await openList(torn);
  t.match(store.recovery, { recovered: "torn", setAside: undefined });
  t.same([...torn.names.keys()], [journalName]);
  t.same(torn.content(journalName), whole);
});

t.test("a directory's own creation and lock leave no file behind", async (t) => {
  const path = join(t.testdir(), "state");
  const directory = await openStateDirectory(path);
  t.same(await directory.list(), []);
  t.equal(await directory.read("absent"), undefined);
  await directory.remove("absent");
  await directory.close();
});

t.test("a group encoded in chunks gives the same line as one encoded at once", async (t) => {
  for (const count of [0, 1, 4_000, 4_001, 9_999]) {
    const changes = Array.from({ length: count }, (_, index) => ({ index, text: `ü\n${index}` }));
    const group = await encodeChunked({ seq: 7, changes });
    t.ok(group.equals(encodeRecord({ seq: 7, changes })), `${count} changes`);
  }
});

t.test("the event loop runs between deciding on thousands of changes and applying them", async (t) => {
  const events: string[] = [];
  const codec: typeof listCodec = {
    ...listCodec,
    reduce: (state, changes) => {
      events.push("reduced");
      return listCodec.reduce(state, changes);
    },
  };
  const store = await startStore({
    directory: new FakeDisk().directory(),
    codec,
    now: () => 0,
    log: quiet,
  });
  const { state } = await store.transact(() => {
    events.push("decided");
    setImmediate(() => events.push("another"));
    return { changes: Array.from({ length: 2_000 }, (_, index) => index), result: undefined };
  });
  t.equal(state.length, 2_000);
  t.strictSame(events, ["decided", "another", "reduced", "reduced"], "and a thousand at a time");
  await store.close();
});

t.test("changes that cannot be applied fail only for their own caller", async (t) => {
  const codec: typeof listCodec = {
    ...listCodec,
    reduce: (state, changes) => {
      if (changes.includes(13)) throw new TypeError("no such change");
      return listCodec.reduce(state, changes);
    },
  };
  const store = await startStore({ directory: new FakeDisk().directory(), codec, now: () => 0, log: quiet });
  const [good, bad, next] = await Promise.allSettled(
    [1, 13, 2].map((change) => store.transact(() => ({ changes: [change], result: undefined }))),
  );
  t.match([good, bad, next], [{ status: "fulfilled" }, { status: "rejected" }, { status: "fulfilled" }]);
  t.strictSame(store.current, [1, 2]);
  await store.close();
});
