/**
 * The journal's lines: `<crc32 of the JSON, 8 hex digits> <JSON>\n`. One line is one durable group.
 *
 * JSON escapes newlines and NULs. So a newline always ends a record, and a NUL byte never comes from the agent. After a
 * power cut the last group is either complete or a broken last line.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { JsonObject } from "../../lib/state/unrecognized.ts";
import { isJsonObject } from "./json.ts";

const newline = 0x0a;
/** Eight hex digits and a space. */
const prefixLength = 9;
/** Takes a few milliseconds. */
const itemsAtOnce = 4_000;

/** The result of scanning a journal. `end` is the offset after the last good line. */
export interface Scan {
  readonly records: readonly unknown[];
  readonly end: number;
  /**
   * `torn`: after `end` there is an interrupted write, which was never acknowledged. `corrupt`: acknowledged data may
   * be damaged; the records must not be used.
   */
  readonly journalState: "intact" | "torn" | "corrupt";
  /** What is wrong and where, as text. Empty if nothing is wrong. */
  readonly detail: string;
}

export function encodeRecord(body: unknown): Buffer {
  return sealed(Buffer.from(`00000000 ${JSON.stringify(body)}\n`));
}

/** Like {@link encodeRecord}, for bodies with lists of tens of thousands of items. Lets the event loop run in between. */
export async function encodeChunked(body: JsonObject): Promise<Buffer> {
  const parts = [Buffer.from("00000000 ")];
  for (const { text, isLong } of jsonOf(body)) {
    parts.push(Buffer.from(text));
    if (isLong) await nextTurn();
  }
  parts.push(Buffer.from("\n"));
  return sealed(Buffer.concat(parts));
}

/** Yields the output of `JSON.stringify` in parts. */
function* jsonOf(value: unknown): Generator<{ readonly text: string; readonly isLong?: boolean }> {
  if (Array.isArray(value) && value.length > itemsAtOnce) {
    for (let from = 0; from < value.length; from += itemsAtOnce) {
      const items = JSON.stringify(value.slice(from, from + itemsAtOnce)).slice(1, -1);
      yield { text: `${from === 0 ? "[" : ","}${items}`, isLong: true };
    }
    yield { text: "]" };
  } else if (isJsonObject(value)) {
    let separator = "{";
    for (const [name, member] of Object.entries(value)) {
      if (member === undefined) continue;
      yield { text: `${separator}${JSON.stringify(name)}:` };
      yield* jsonOf(member);
      separator = ",";
    }
    yield { text: separator === "{" ? "{}" : "}" };
  } else {
    yield { text: JSON.stringify(value) };
  }
}

export function scanRecords(bytes: Buffer): Scan {
  const records: unknown[] = [];
  let end = 0;
  while (end < bytes.length) {
    const stop = bytes.indexOf(newline, end);
    const line = bytes.subarray(end, stop === -1 ? bytes.length : stop);
    const isLast = stop === -1 || stop === bytes.length - 1;
    if (stop !== -1 && isSound(line)) {
      const body = parse(line);
      if (body === undefined) return damaged("corrupt", "a line has the right checksum but is not JSON");
      records.push(body);
      end = stop + 1;
      continue;
    }
    const isTorn =
      stop === -1 ? !isSound(line.subarray(0, -1)) || line.at(-1) === 0 : isLast && hasHole(line);
    return isTorn
      ? damaged("torn", `the last write, ${bytes.length - end} bytes, is incomplete`)
      : damaged("corrupt", "a line does not match its checksum");
  }
  return { records, end, journalState: "intact", detail: "" };

  function damaged(journalState: "torn" | "corrupt", what: string): Scan {
    return { records, end, journalState, detail: `${what} (line ${records.length + 1}, byte ${end})` };
  }
}

/** Fills in the checksum. */
function sealed(line: Buffer): Buffer {
  line.write(checksum(line.subarray(prefixLength, -1)), 0, "latin1");
  return line;
}

/**
 * Whether sectors of the line were never written. A file system may extend a file before its data is on disk; such
 * sectors read as zeros. A single flipped bit cannot produce two NULs, and cannot turn a hex digit into a NUL.
 */
function hasHole(line: Buffer): boolean {
  return line[0] === 0 || line.includes("\0\0");
}

function isSound(line: Buffer): boolean {
  return (
    line.length > prefixLength &&
    line.toString("latin1", 0, prefixLength) === `${checksum(line.subarray(prefixLength))} `
  );
}

function checksum(json: Buffer): string {
  return crc32(json).toString(16).padStart(8, "0");
}

function parse(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString("utf8", prefixLength));
  } catch {
    return undefined;
  }
}
