/**
 * The log on disk: a ring of files, each named by the time of its creation. Written by one process; read at any time,
 * also while it is written.
 */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectories } from "../make-directories.ts";
import { AppendFile } from "../store/append-file.ts";
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

/** Writes at most `maxBytes` in all. */
export class SegmentSink implements LineSink {
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #maxBytes: number;
  readonly #wallMs: () => number;
  #file: AppendFile | undefined;
  #last = { ms: 0, count: 0 };

  constructor(directory: string, maxBytes: number, wallMs: () => number) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
    this.#segmentBytes = Math.floor(maxBytes / segmentCount);
    this.#wallMs = wallMs;
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
      // The last line may be torn: the next one goes into another file.
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #roomy(): Promise<AppendFile> {
    const file = this.#file;
    if (file !== undefined && file.length < this.#segmentBytes && (await file.isInPlace())) return file;
    await this.close();
    await makeDirectories(this.#directory, 0o700);
    await this.#makeRoom();
    this.#file = await AppendFile.open(join(this.#directory, this.#nextName()));
    return this.#file;
  }

  async #makeRoom(): Promise<void> {
    const segments = await listSegments(this.#directory);
    const sizes = await Promise.all(
      segments.map(({ path }) =>
        stat(path).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    let total = sizes.reduce((sum, size) => sum + size, 0);
    for (const [index, { path }] of segments.entries()) {
      if (total + this.#segmentBytes <= this.#maxBytes) break;
      await rm(path, { force: true });
      total -= sizes[index] ?? 0;
    }
  }

  /** Names never repeat and are in order, also if the clock goes back. */
  #nextName(): string {
    const ms = Math.max(this.#wallMs(), this.#last.ms);
    this.#last = { ms, count: this.#last.count + 1 };
    return `flows-${String(ms).padStart(13, "0")}-${String(this.#last.count).padStart(6, "0")}.jsonl`;
  }
}

/** Where the last line ends that still fits into `room`; at least one line. */
function endOfLines(bytes: Buffer, from: number, room: number): number {
  if (bytes.length - from <= room) return bytes.length;
  const last = bytes.lastIndexOf(newline, from + room - 1);
  if (last >= from) return last + 1;
  const next = bytes.indexOf(newline, from);
  return next < 0 ? bytes.length : next + 1;
}

const newline = 10;
