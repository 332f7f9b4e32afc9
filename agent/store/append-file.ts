/** A file of lines that only grows. The audit log and the flow log write to such files. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { idOf, openRegular, statOf } from "./file-id.ts";

/** What is needed of a file. Tests inject disk faults here. */
export type AppendHandle = Pick<FileHandle, "write" | "stat" | "close">;
export type OpenAppendFile = (path: string, flags: number, mode: number) => Promise<AppendHandle>;

/** A named pipe without a reader fails at once; the name must not lead elsewhere. */
const flags =
  constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK;

export class AppendFile {
  readonly path: string;
  readonly #handle: AppendHandle;
  readonly #id: string;
  #length: number;
  /** The last line was cut short: the next one begins with a new line. */
  #isTorn: boolean;

  private constructor(path: string, handle: AppendHandle, id: string, length: number, isTorn: boolean) {
    this.path = path;
    this.#handle = handle;
    this.#id = id;
    this.#length = length;
    this.#isTorn = isTorn;
  }

  /** Creates it, for its owner only, unless it exists. */
  static async open(path: string, openFile: OpenAppendFile = open): Promise<AppendFile> {
    const handle = await openFile(path, flags, 0o600);
    try {
      const stat = await handle.stat({ bigint: true });
      if (!stat.isFile()) throw new Error("it is no regular file");
      const length = Number(stat.size);
      return new AppendFile(path, handle, idOf(stat), length, await isTorn(path, length));
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** In bytes. */
  get length(): number {
    return this.#length;
  }

  /** False if another program moved or removed the file: nobody would look for what is written now. */
  async isInPlace(): Promise<boolean> {
    const there = await statOf(this.path);
    return there !== undefined && idOf(there) === this.#id;
  }

  /** Appends whole lines. If it throws, a part of them may be in the file. */
  async append(lines: Buffer): Promise<void> {
    const bytes = this.#isTorn ? Buffer.concat([Buffer.from("\n"), lines]) : lines;
    this.#isTorn = true;
    // Like write(2), a handle may write less than it got.
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, at);
      if (bytesWritten === 0) throw new Error("nothing could be written");
      at += bytesWritten;
      this.#length += bytesWritten;
    }
    this.#isTorn = false;
  }

  /** Nothing waits in the process for the end of the file, so there is nothing to lose. */
  async close(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
  }
}

async function isTorn(path: string, length: number): Promise<boolean> {
  if (length === 0) return false;
  const handle = await openRegular(path);
  try {
    const last = Buffer.alloc(1);
    await handle?.read(last, 0, 1, length - 1);
    return last.toString() !== "\n";
  } finally {
    await handle?.close();
  }
}
