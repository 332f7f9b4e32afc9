/**
 * The log on disk: a ring of files, each named by the time of its creation. Written by one process; read at any time,
 * also while it is written.
 */
import { readdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { makeDirectories } from "../make-directories.ts";
import { AppendFile, type OpenAppendFile } from "../store/append-file.ts";
import { statOf } from "../store/file-id.ts";
import type { LineSink } from "./line-buffer.ts";

export interface Segment {
  readonly path: string;
  /** No line in it is older. Unix time in ms. */
  readonly fromMs: number;
}

/** Files of the ring; one is written, and the oldest goes before a new one comes. */
const segmentCount = 16;

const namePattern = /^flows-([0-9]{13})-([0-9]{6})\.jsonl$/;

/** Oldest first. Empty if there is no such directory. */
export async function listSegments(directory: string): Promise<readonly Segment[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  return names
    .filter((name) => namePattern.test(name))
    .sort()
    .map((name) => ({ path: join(directory, name), fromMs: Number(namePattern.exec(name)?.[1]) }));
}

/** Writes at most `maxBytes` in all. Goes on in the newest file, whoever wrote it: there are never many small ones. */
export class SegmentSink implements LineSink {
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #maxBytes: number;
  readonly #wallMs: () => number;
  readonly #open: OpenAppendFile | undefined;
  #file: AppendFile | undefined;
  /** The last file that refused a write, and not because the disk is full: the next one goes elsewhere. */
  #unwritable: string | undefined;

  constructor(directory: string, maxBytes: number, wallMs: () => number, openFile?: OpenAppendFile) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#segmentBytes = Math.floor(maxBytes / segmentCount);
    this.#wallMs = wallMs;
    this.#open = openFile;
  }

  async write(bytes: Buffer): Promise<void> {
    try {
      for (let from = 0; from < bytes.length; ) {
        const file = await this.#roomy();
        const to = endOfLines(bytes, from, this.#segmentBytes - file.length);
        await file.append(bytes.subarray(from, to));
        from = to;
      }
    } catch (error) {
      await this.#onFailed(error);
      throw error;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #onFailed(error: unknown): Promise<void> {
    const file = this.#file;
    await this.close();
    if (file === undefined || isOutOfSpace(error)) return;
    this.#unwritable = file.path;
    // The write's own error is the one to report.
    if (file.length === 0) await rm(file.path, { force: true }).catch(() => undefined);
  }

  async #roomy(): Promise<AppendFile> {
    const file = this.#file;
    if (file !== undefined && file.length < this.#segmentBytes && (await file.isInPlace())) return file;
    await this.close();
    await makeDirectories(this.#directory, 0o700);
    const segments = await withSizes(await listSegments(this.#directory));
    const last = segments.at(-1);
    const hasRoom = last !== undefined && last.size < this.#segmentBytes && last.path !== this.#unwritable;
    await this.#makeRoom(hasRoom ? segments.slice(0, -1) : segments);
    // A link can be in its place: then another file is begun.
    const reopened = hasRoom ? await this.#openAt(last.path).catch(() => undefined) : undefined;
    this.#file = reopened ?? (await this.#openAt(join(this.#directory, nameAfter(last, this.#wallMs()))));
    return this.#file;
  }

  #openAt(path: string): Promise<AppendFile> {
    return AppendFile.open(path, this.#open);
  }

  /** For one more file besides `segments`. */
  async #makeRoom(segments: readonly SizedSegment[]): Promise<void> {
    let total = segments.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of segments) {
      if (total + this.#segmentBytes <= this.#maxBytes) break;
      await rm(path, { force: true });
      total -= size;
    }
  }
}

interface SizedSegment extends Segment {
  /** In bytes. */
  readonly size: number;
}

/** Those that are files. */
async function withSizes(segments: readonly Segment[]): Promise<readonly SizedSegment[]> {
  const all = await Promise.all(
    segments.map(async (one) => {
      const found = await statOf(one.path);
      return found?.isFile() ? { ...one, size: Number(found.size) } : undefined;
    }),
  );
  return all.filter((one) => one !== undefined);
}

function isOutOfSpace(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOSPC" || code === "EDQUOT";
}

/** Names never repeat and are in order, also if the clock goes back. */
function nameAfter(last: Segment | undefined, wallMs: number): string {
  if (last === undefined || wallMs > last.fromMs) return nameOf(wallMs, 0);
  const count = Number(namePattern.exec(basename(last.path))?.[2]) + 1;
  return count < maxCount ? nameOf(last.fromMs, count) : nameOf(last.fromMs + 1, 0);
}

/** @param count of files with the same time before it */
function nameOf(ms: number, count: number): string {
  return `flows-${String(ms).padStart(13, "0")}-${String(count).padStart(6, "0")}.jsonl`;
}

const maxCount = 1_000_000;

/** Where the last line ends that still fits into `room`; at least one line. */
function endOfLines(bytes: Buffer, from: number, room: number): number {
  if (bytes.length - from <= room) return bytes.length;
  const last = bytes.lastIndexOf(newline, from + room - 1);
  if (last >= from) return last + 1;
  const next = bytes.indexOf(newline, from);
  return next < 0 ? bytes.length : next + 1;
}

const newline = 10;
