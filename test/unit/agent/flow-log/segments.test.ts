/** The ring of files: bounded, in order, searched by time, and robust against what happens to files. */
import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { searchLog, searchLostEnds } from "../../../../agent/flow-log/search.ts";
import { listSegments, SegmentSink } from "../../../../agent/flow-log/segments.ts";
import type { AppendHandle, OpenAppendFile } from "../../../../agent/store/append-file.ts";
import { encodeRecord, type SessionRecord } from "../../../../lib/flow-log/records.ts";
import type { WhoQuery } from "../../../../lib/flow-log/who.ts";
import { ip } from "../../../support/conntrack-samples.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const begin = Date.parse("2026-01-31T12:00:00Z");
const eip = ip("203.0.113.10");
const none = new AbortController().signal;

/** Flow `index` lives from second `index - 10` to second `index`, and has port `index` modulo 100. */
function session(index: number): SessionRecord {
  const time = new Date(begin + index * 1_000).toISOString();
  const tuple = { src: ip("10.0.1.5"), dst: ip("198.51.100.7"), sport: index, dport: 53 };
  return {
    time,
    event: "NAT44 session delete",
    natEvent: 5,
    protocol: "udp",
    original: tuple,
    reply: { src: tuple.dst, dst: eip, sport: 53, dport: index % 100 },
    source: { eip, eipPort: index % 100 },
    start: new Date(begin + (index - 10) * 1_000).toISOString(),
    end: time,
  };
}

function directory(): string {
  return join(temporaryDirectory("flow-log"), "flow-log");
}

/** Writes sessions in batches of ten, at their time. */
async function write(path: string, from: number, to: number, maxBytes: number): Promise<void> {
  let index = from;
  const sink = new SegmentSink(path, maxBytes, () => begin + index * 1_000);
  for (; index < to; index += 10) {
    const lines = Array.from({ length: 10 }, (_, at) => encodeRecord(session(index + at)));
    await sink.write(Buffer.from(lines.join("")));
  }
  await sink.close();
}

/** Of the sessions in files, in their order. */
function indexesIn(texts: readonly string[]): readonly number[] {
  const lines = texts.flatMap((text) => text.split("\n").filter(Boolean));
  return lines.map((line) => JSON.parse(line).original.sport);
}

const who = (path: string, query: Partial<WhoQuery>, limit = 100) =>
  searchLog(path, { eip, port: 7, protocol: undefined, atMs: undefined, ...query }, limit, none);
const ports = (found: Awaited<ReturnType<typeof who>>) => found.items.map(({ port }) => port);

t.test("the ring is bounded, and whole lines are in each file", async (t) => {
  const path = directory();
  const maxBytes = 64 << 10;
  await write(path, 0, 1_000, maxBytes);
  const segments = await listSegments(path);
  t.ok(segments.length > 10 && segments.length <= 16, `${segments.length} files`);
  const sizes = await Promise.all(segments.map(async (segment) => (await stat(segment.path)).size));
  t.ok(sizes.reduce((sum, size) => sum + size, 0) <= maxBytes);
  const texts = await Promise.all(segments.map((segment) => readFile(segment.path, "utf8")));
  const indexes = indexesIn(texts);
  t.strictSame(
    indexes,
    Array.from({ length: indexes.length }, (_, at) => 1_000 - indexes.length + at),
  );
  t.ok(texts.every((text) => text.endsWith("\n")));
});

t.test("who had a port, at a time and lately", async (t) => {
  const path = directory();
  t.strictSame(
    await who(path, {}),
    { items: [], gaps: [], logFromMs: undefined, isCut: false },
    "there is no log",
  );
  await write(path, 0, 1_000, 1 << 20);
  for (let index = 7; index < 1_000; index += 100) {
    t.strictSame(ports(await who(path, { atMs: begin + index * 1_000 - 5_000 })), [index]);
    t.strictSame(ports(await who(path, { atMs: begin + index * 1_000 + 1 })), []);
  }
  t.strictSame(ports(await who(path, {})), [7, 107, 207, 307, 407, 507, 607, 707, 807, 907]);
  t.strictSame(ports(await who(path, {}, 3)), [707, 807, 907], "the last ones");
  t.strictSame(ports(await who(path, { port: 101 })), []);
});

t.test("files of an earlier process, torn lines, and lines of nobody", async (t) => {
  const path = directory();
  await write(path, 0, 100, 4 << 20);
  const [first] = await listSegments(path);
  await appendFile(first?.path ?? "", encodeRecord(session(107)).slice(0, 50));
  await write(path, 200, 300, 4 << 20);
  t.equal((await listSegments(path)).length, 1, "it goes on in the newest file");
  await writeFile(join(path, "flows-notes.txt"), encodeRecord(session(507)));
  t.strictSame(ports(await who(path, {})), [7, 207]);
  await appendFile(first?.path ?? "", `\n${"x".repeat(3 << 20)}\n${encodeRecord(session(107))}`);
  t.strictSame(ports(await who(path, {})), [7, 207, 107], "after megabytes without a line");
});

t.test("gaps after the time are told, earlier ones are not", async (t) => {
  const path = directory();
  await write(path, 0, 100, 1 << 20);
  const [first] = await listSegments(path);
  const gap = {
    time: new Date(begin + 50_000).toISOString(),
    event: "log gap",
    reason: "write",
    records: 3,
  } as const;
  await appendFile(first?.path ?? "", encodeRecord(gap));
  t.same((await who(path, { atMs: begin + 40_000 })).gaps, [gap]);
  t.same((await who(path, { atMs: begin + 60_000 })).gaps, []);
});

t.test("a removed directory or file is made again", async (t) => {
  const path = directory();
  const sink = new SegmentSink(path, 1 << 20, () => begin);
  await sink.write(line(7));
  await rm(path, { recursive: true });
  await sink.write(line(107));
  t.strictSame(ports(await who(path, {})), [107]);
  t.equal((await readdir(path)).length, 1);
  await sink.close();
});

t.test("flows whose end was lost are found by their begin, in files from before, too", async (t) => {
  const path = directory();
  const begun = (index: number): SessionRecord => {
    const { end: _end, start = "", ...rest } = session(index);
    return { ...rest, start, time: start, event: "NAT44 session create", natEvent: 4 };
  };
  let nowMs = begin;
  const sink = new SegmentSink(path, 1 << 20, () => nowMs);
  await sink.write(Buffer.from([begun(7), begun(107)].map(encodeRecord).join("")));
  await sink.close();
  nowMs += 60_000;
  const next = new SegmentSink(path, 1 << 20, () => nowMs);
  const gap = { time: new Date(nowMs).toISOString(), event: "log gap", reason: "stopped" } as const;
  await next.write(Buffer.from([gap, session(107)].map(encodeRecord).join("")));
  await next.close();
  const query: WhoQuery = { eip, port: 7, protocol: undefined, atMs: begin + 200_000 };
  t.match(await searchLostEnds(path, query, [], none), [{ port: 7, end: null, endLost: true }]);
  t.same(ports(await who(path, { atMs: begin + 100_000 })), [107], "no begin is an answer of the log itself");
});

const line = (index: number) => Buffer.from(encodeRecord(session(index)));

/** Files whose writes fail while there is an error. */
function onFaultyDisk() {
  const disk: { error: NodeJS.ErrnoException | undefined } = { error: undefined };
  const openFile: OpenAppendFile = async (path, flags, mode) => {
    const file = await open(path, flags, mode);
    return {
      stat: file.stat.bind(file),
      close: () => file.close(),
      async write(bytes: Buffer, at: number) {
        if (disk.error === undefined) return file.write(bytes, at);
        // A full disk takes a part of a line, a broken one nothing.
        if (disk.error.code === "ENOSPC" && at === 0) return file.write(bytes, at, 10);
        throw disk.error;
      },
    } as AppendHandle;
  };
  return { disk, openFile };
}

for (const code of ["ENOSPC", "EIO"])
  t.test(`a disk that answers ${code} again and again leaves no crowd of files`, async (t) => {
    const path = directory();
    const { disk, openFile } = onFaultyDisk();
    let nowMs = begin;
    const sink = new SegmentSink(path, 1 << 20, () => nowMs++, openFile);
    await sink.write(line(7));
    disk.error = Object.assign(new Error(code), { code });
    for (let times = 0; times < 50; times++) await t.rejects(sink.write(line(107)), { code });
    disk.error = undefined;
    await sink.write(line(207));
    await sink.close();
    t.strictSame(ports(await who(path, {})), [7, 207]);
    t.equal((await readdir(path)).length, 1);
  });

t.test("an agent that starts again and again makes no file each time", async (t) => {
  const path = directory();
  for (let index = 0; index < 50; index += 10) await write(path, index, index + 10, 1 << 20);
  t.equal((await readdir(path)).length, 1);
  t.strictSame(ports(await who(path, {})), [7]);
});

t.test("a directory or a link in the place of a file is left alone", async (t) => {
  const path = directory();
  await write(path, 0, 10, 1 << 20);
  await mkdir(join(path, `flows-${begin + 1_000}-000000.jsonl`));
  await write(path, 100, 110, 1 << 20);
  t.equal((await readdir(path)).length, 2);
  const elsewhere = join(path, "elsewhere");
  await writeFile(elsewhere, "");
  await symlink(elsewhere, join(path, `flows-${begin + 2_000}-000000.jsonl`));
  await write(path, 200, 210, 1 << 20);
  t.equal((await readdir(path)).length, 5);
  t.equal(await readFile(elsewhere, "utf8"), "");
  t.strictSame(ports(await who(path, {})), [7, 107, 207]);
});

t.test("the oldest files go first, also if the clock was set back between two processes", async (t) => {
  const path = directory();
  const maxBytes = 64 << 10;
  const writeAt = async (wallMs: number, from: number) => {
    const sink = new SegmentSink(path, maxBytes, () => wallMs);
    for (let index = from; index < from + 200; index++) await sink.write(line(index));
    await sink.close();
  };
  const yearMs = 365 * 86_400_000;
  await writeAt(begin + yearMs, 0);
  await writeAt(begin, 200);
  const texts = await Promise.all((await listSegments(path)).map((one) => readFile(one.path, "utf8")));
  const indexes = indexesIn(texts);
  t.ok(indexes.length < 200);
  t.strictSame(
    indexes,
    Array.from({ length: indexes.length }, (_, at) => 400 - indexes.length + at),
  );
});

t.test("a million files of one millisecond", async (t) => {
  const path = directory();
  await write(path, 0, 10, 1 << 20);
  const [first] = await listSegments(path);
  const full = join(path, `flows-${begin}-999999.jsonl`);
  await rename(first?.path ?? "", full);
  await truncate(full, 1 << 16);
  await write(path, 0, 10, 1 << 20);
  t.match(await listSegments(path), [{ path: full }, { fromMs: begin + 1 }]);
});
