/** The audit log: what is written can be read, its size is bounded, and a bad disk loses records and nothing else. */
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { AuditLog } from "../../../../agent/audit/audit-log.ts";
import type { AppendHandle, OpenAppendFile } from "../../../../agent/store/append-file.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const second = (number: number) => new Date(number * 1_000).toISOString();
const always = Number.NEGATIVE_INFINITY;

function make(maxBytes = 64 * 1024, openFile?: OpenAppendFile) {
  const directory = temporaryDirectory("audit");
  const path = join(directory, "audit.log");
  const counts = { written: 0, disk: 0, queue: 0 };
  const lines: string[] = [];
  const audit = new AuditLog({
    path,
    maxBytes,
    now: () => 0,
    onWritten: (records) => (counts.written += records),
    onLost: (records, reason) => (counts[reason] += records),
    log: {
      error: (_: object, text: string) => lines.push(text),
      info: (_: object, text: string) => lines.push(text),
    } as never,
    ...(openFile !== undefined && { openFile }),
  });
  const append = (from: number, to: number, more: object = {}) => {
    for (let number = from; number < to; number++) audit.append({ time: second(number), number, ...more });
  };
  const numbers = async (limit = 1_000, sinceMs = always) =>
    (await audit.read(limit, sinceMs)).map((record) => record.number ?? `lost ${record.lost}`);
  return { audit, path, counts, lines, append, numbers };
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

t.test("the last records, the oldest first", async (t) => {
  const { audit, append, numbers, path, counts } = make();
  t.same(await numbers(), [], "nothing was written yet");
  append(0, 300);
  t.same(await numbers(), range(0, 300));
  t.same(await numbers(3), [297, 298, 299]);
  t.same(await numbers(3, 298_000), [298, 299]);
  t.same(await numbers(1_000, 290_500), range(291, 300));
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(counts.written, 300);
  await audit.stop();
});

t.test("records of a time are found although the clock was set back later", async (t) => {
  const { audit, append, numbers } = make(64 << 20);
  append(50, 60);
  append(0, 20);
  t.same(await numbers(1_000, 55_000), range(55, 60));
  for (let older = 0; older <= 10_000; older += 20) {
    append(0, 20);
    await numbers(1);
  }
  t.same(await numbers(1_000, 55_000), [], "not among more than 10,000 older ones");
  await audit.stop();
});

t.test("two files of half the size; the rest is forgotten", async (t) => {
  const { append, numbers, path, counts } = make(20_000);
  for (let from = 0; from < 1_000; from += 10) {
    append(from, from + 10, { text: "ü".repeat(20) });
    await numbers(1);
  }
  const found = await numbers();
  const [first] = found;
  t.same(found, range(Number(first), 1_000), "what is there has no gap");
  t.ok(Number(first) > 700 && Number(first) < 950, `${first}`);
  for (const file of [path, `${path}.1`]) t.ok(statSync(file).size <= 10_000);
  t.equal(counts.written, 1_000);
});

t.test("lines longer than a block, foreign lines and torn ones", async (t) => {
  const { audit, append, numbers, path } = make(4_000_000);
  append(0, 2);
  await numbers();
  append(2, 4, { text: "x".repeat(200_000) });
  await numbers();
  // An agent that was killed may have written a part of a line.
  await audit.stop();
  writeFileSync(path, `${readFileSync(path, "utf8")}no JSON\n[]\n{"time":5}\n{"time":"20`);
  append(4, 6);
  t.same(await numbers(), range(0, 6), "a new record begins a line");
});

t.test("a file that another program moves or removes is made again", async (t) => {
  const { append, numbers, path } = make();
  append(0, 2);
  await numbers();
  renameSync(path, `${path}.saved`);
  append(2, 4);
  t.same(await numbers(), [2, 3]);
  rmSync(path);
  append(4, 5);
  t.same(await numbers(), [4]);
});

t.test("what cannot be written is lost, counted and said", async (t) => {
  const { audit, append, numbers, path, counts, lines } = make();
  mkdirSync(path);
  append(0, 3);
  t.same(await numbers(), [], "there is nothing to read");
  t.match(audit.failure, /EISDIR/);
  t.same([counts.written, counts.disk], [0, 3]);
  rmSync(path, { recursive: true });
  append(3, 5);
  t.same(await numbers(), ["lost 3", 3, 4]);
  t.equal(audit.failure, undefined);
  append(5, 6);
  t.same(await numbers(), ["lost 3", 3, 4, 5], "the gap is said once");
  t.same(lines, ["cannot write the audit log", "the audit log is written again"]);
});

t.test("what another program put in the place of the files is not read", async (t) => {
  const { audit, append, numbers, path } = make();
  const puts: Readonly<Record<string, (at: string) => void>> = {
    "a named pipe": (at) => execFileSync("mkfifo", [at]),
    "a link to an endless device": (at) => symlinkSync("/dev/zero", at),
    "a directory": (at) => mkdirSync(at),
  };
  for (const [what, put] of Object.entries(puts)) {
    put(path);
    put(`${path}.1`);
    t.same(await numbers(), [], what);
    for (const file of [path, `${path}.1`]) rmSync(file, { recursive: true });
    append(0, 1);
    put(`${path}.1`);
    t.same(await numbers(), [0], `${what} in place of the one before`);
    await audit.stop();
    for (const file of [path, `${path}.1`]) rmSync(file, { recursive: true });
  }
});

t.test("a huge file: no more of it is read than it may have", async (t) => {
  const { append, numbers, path } = make(64 * 1024);
  writeFileSync(path, `${JSON.stringify({ time: second(0), number: "before" })}\n`);
  truncateSync(path, 2 ** 40);
  writeFileSync(path, `\n${JSON.stringify({ time: second(1), number: 1 })}\n`, { flag: "a" });
  t.same(await numbers(), [1]);
  append(2, 3);
  t.same(await numbers(), [1, 2], "the next record begins another one");
});

t.test("a disk that becomes full in the middle of a line", async (t) => {
  let room = 100;
  const openFile: OpenAppendFile = async (...given) => {
    const handle = await open(...given);
    const write = async (bytes: Buffer, at: number) => {
      const count = Math.min(room, bytes.length - at);
      if (count === 0) throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
      room -= count;
      return handle.write(bytes, at, count);
    };
    return { write, stat: handle.stat.bind(handle), close: () => handle.close() } as unknown as AppendHandle;
  };
  const { append, numbers, counts } = make(64 * 1024, openFile);
  append(0, 10);
  const found = await numbers();
  t.ok(found.length > 0 && found.length < 10, `${found.length} lines fit`);
  t.equal(counts.disk, 10, "of a group that was cut short all count as lost");
  room = Number.POSITIVE_INFINITY;
  append(10, 11);
  t.same(await numbers(), [...found, "lost 10", 10]);
});

t.test("a disk that hangs: what waits is bounded, and nobody waits for it", async (t) => {
  let release = (): void => undefined;
  const openFile: OpenAppendFile = (...given) =>
    new Promise((resolve) => {
      release = () => resolve(open(...given));
    });
  const { audit, append, numbers, counts } = make(64 * 1024 * 1024, openFile);
  append(0, 1);
  await nextTurn();
  while (counts.queue === 0) append(1, 100, { text: "x".repeat(10_000) });
  t.same(await numbers(), [], "a read does not hang");
  await audit.stop();
  release();
  await audit.stop();
  t.ok(counts.written > 50 && counts.queue > 0);
  const gaps = (await numbers()).filter((one) => String(one).startsWith("lost"));
  t.same(gaps, [`lost ${counts.queue}`], "what the queue lost while the disk hung is in the file");
});
