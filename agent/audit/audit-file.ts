/** The file of the audit log: one JSON object per line, rotated once, so that two files of bounded size exist. */
import { constants } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { idOf, statOf } from "../store/file-id.ts";

/** What is needed of a file. Tests inject disk faults here. */
export type AuditHandle = Pick<FileHandle, "write" | "stat" | "close">;
export type OpenAuditFile = (path: string, flags: number, mode: number) => Promise<AuditHandle>;

interface Opened {
  readonly handle: AuditHandle;
  readonly id: string;
  length: number;
  /** The last line was cut short: another begins with a new line. */
  isTorn: boolean;
}

/** A named pipe without a reader fails at once; the name must not lead elsewhere. */
const flags =
  constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class AuditFile {
  readonly path: string;
  readonly #maxBytes: number;
  readonly #open: OpenAuditFile;
  #file: Opened | undefined;

  /** @param maxBytes of both files together */
  constructor(path: string, maxBytes: number, openFile: OpenAuditFile = open) {
    this.path = path;
    this.#maxBytes = maxBytes;
    this.#open = openFile;
  }

  /** The current file, and the one before it. */
  get paths(): readonly [string, string] {
    return [this.path, `${this.path}.1`];
  }

  /** Appends whole lines. If it throws, a part of them may be in the file. */
  async append(lines: string): Promise<void> {
    const bytes = Buffer.from(lines);
    try {
      let file = await this.#opened();
      if (file.length > 0 && file.length + bytes.length > this.#maxBytes / 2) {
        await this.close();
        await rename(...this.paths);
        file = await this.#opened();
      }
      await writeAll(file, file.isTorn ? Buffer.concat([Buffer.from("\n"), bytes]) : bytes);
      file.isTorn = false;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    // Nothing waits in the process for the end of the file.
    await file?.handle.close().catch(() => undefined);
  }

  /** Another program may have moved or removed the file. */
  async #opened(): Promise<Opened> {
    const there = await statOf(this.path);
    if (this.#file !== undefined && there !== undefined && idOf(there) === this.#file.id) return this.#file;
    await this.close();
    const handle = await this.#open(this.path, flags, 0o600);
    try {
      const stat = await handle.stat({ bigint: true });
      if (!stat.isFile()) throw new Error("it is no regular file");
      const length = Number(stat.size);
      this.#file = {
        handle,
        id: idOf(stat),
        length,
        isTorn: length > 0 && !(await endsWithLine(this.path, length)),
      };
      return this.#file;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }
}

/** Like write(2), a handle may write less than it got. */
async function writeAll(file: Opened, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.handle.write(bytes, at);
    if (bytesWritten === 0) throw new Error("nothing could be written");
    at += bytesWritten;
    file.length += bytesWritten;
  }
}

async function endsWithLine(path: string, length: number): Promise<boolean> {
  const handle = await open(path, "r");
  try {
    const last = Buffer.alloc(1);
    await handle.read(last, 0, 1, length - 1);
    return last.toString() === "\n";
  } finally {
    await handle.close();
  }
}
