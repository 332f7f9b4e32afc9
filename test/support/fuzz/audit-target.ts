/**
 * The two files of the audit log as other programs and bad disks leave them: read backwards, with blocks and longest lines of any
 * size, they give what a plain reading of the whole gives.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { AuditLog } from "../../../agent/audit/audit-log.ts";
import { readBackwards } from "../../../agent/audit/read-backwards.ts";
import { temporaryDirectory } from "../temporary-directory.ts";
import { anyJson, below, mutateBytes, mutateJson, pick, type Random } from "./mutate.ts";
import type { Target } from "./target.ts";

const record = {
  time: "2026-01-02T03:04:05.678Z",
  identity: { kind: "token", name: "controller" },
  client: "10.0.1.7",
  method: "PUT",
  path: "/v1/eips/eip-a",
  query: { wait: "5s" },
  status: 200,
  before: { generation: 1, revision: 2 },
  after: { generation: 1, revision: 3 },
};
const separator = Buffer.from("\n\n=== the file before ===\n\n");

function line(random: Random, second: number): string {
  switch (below(random, 12)) {
    case 0:
      return JSON.stringify(anyJson(random)) ?? "";
    case 1:
      return "";
    case 2:
      return `{"time":"${record.time}","x":${"[".repeat(below(random, 3_000))}`;
    case 3:
      return JSON.stringify({
        ...record,
        time: pick(random, ["", "yesterday", "9999", "-1", "2026-13-40T99:99:99Z"]),
      });
    case 4:
      return JSON.stringify({ ...record, path: "ü€💥".repeat(below(random, 400)) });
    case 5:
      return JSON.stringify({ time: record.time, lost: below(random, 99) });
    default: {
      const time = new Date(second * 1_000).toISOString();
      return JSON.stringify(mutateJson(random, { ...record, time }) ?? null);
    }
  }
}

function file(random: Random, from: number): Buffer {
  if (random() < 0.05) return Buffer.alloc(below(random, 5_000));
  const lines = Array.from({ length: below(random, 12) }, (_, index) => line(random, from + index));
  const bytes = Buffer.from(lines.map((text) => `${text}${random() < 0.03 ? "\r\n" : "\n"}`).join(""));
  return random() < 0.3 ? Buffer.from(mutateBytes(random, [bytes])) : bytes;
}

/** What {@link readBackwards} is to yield. */
function linesOf(bytes: Buffer, maxBytes: number, longestLine: number): readonly string[] {
  const from = Math.max(0, bytes.length - maxBytes);
  // Of the line at the limit the beginning is missing.
  const begin = from === 0 ? 0 : bytes.indexOf(0x0a, from) + 1 || bytes.length;
  const lines: string[] = [];
  for (let at = begin; at < bytes.length; ) {
    const next = bytes.indexOf(0x0a, at);
    const end = next === -1 ? bytes.length : next;
    if (end > at && end - at <= longestLine) lines.push(bytes.toString("utf8", at, end));
    at = end + 1;
  }
  return lines.reverse();
}

async function compare(
  bytes: Buffer,
  maxBytes: number,
  blockBytes: number,
  longestLine: number,
): Promise<void> {
  const handle = {
    stat: async () => ({ size: bytes.length }),
    read: async (into: Buffer, _at: number, length: number, position: number) => ({
      bytesRead: bytes.copy(into, 0, position, position + length),
      buffer: into,
    }),
  } as unknown as Parameters<typeof readBackwards>[0];
  const found: string[] = [];
  for await (const lines of readBackwards(handle, { maxBytes, blockBytes, longestLine }))
    found.push(...lines);
  const expected = linesOf(bytes, maxBytes, longestLine);
  if (!isDeepStrictEqual(found, expected))
    throw new Error(
      `${maxBytes}, ${blockBytes}, ${longestLine}: read ${JSON.stringify(found).slice(0, 500)}, is ${JSON.stringify(expected).slice(0, 500)}`,
    );
}

/** Sizes from the input itself, so that an input repeats. */
function sizesOf(bytes: Buffer): readonly [maxBytes: number, blockBytes: number, longestLine: number] {
  let sum = 7;
  for (const byte of bytes) sum = (sum * 31 + byte) % 1_000_003;
  return [1 + (sum % (bytes.length + 50)), 1 + (sum % 997), 1 + (sum % 331)];
}

let directory: string | undefined;

function logDirectory(): string {
  directory ??= temporaryDirectory("fuzz-audit");
  return directory;
}

/** What the agent answers: records that can be sent, and no more than asked for. */
async function readLog(current: Buffer, before: Buffer): Promise<void> {
  const path = join(logDirectory(), "audit.log");
  writeFileSync(path, current);
  writeFileSync(`${path}.1`, before);
  const audit = new AuditLog({
    path,
    maxBytes: 1024 * 1024,
    now: () => 0,
    onWritten: () => undefined,
    onLost: () => undefined,
    log: { error: () => undefined, info: () => undefined },
  });
  const all = await audit.read(1_000, Number.NEGATIVE_INFINITY);
  for (const one of all) {
    JSON.stringify(one);
    if (Number.isNaN(Date.parse(one.time))) throw new Error(`a record of ${one.time}`);
  }
  const last = await audit.read(3, Number.NEGATIVE_INFINITY);
  if (!isDeepStrictEqual(last, all.slice(-3)))
    throw new Error(`the last three are others: ${JSON.stringify(last)}, ${JSON.stringify(all.slice(-3))}`);
}

export const auditTarget: Target = {
  name: "audit log",
  make: (random) => Buffer.concat([file(random, 2_000), separator, file(random, 1_000)]),
  async take(input) {
    const bytes = Buffer.from(input as Uint8Array);
    const at = bytes.indexOf(separator);
    const [current, before] =
      at === -1 ? [bytes, Buffer.alloc(0)] : [bytes.subarray(0, at), bytes.subarray(at + separator.length)];
    const sizes = sizesOf(bytes);
    await compare(current, ...sizes);
    await compare(before, before.length + 1, 61, 40);
    // Files cost more than all the rest.
    if (sizes[1] % 10 === 0) await readLog(current, before);
  },
};
