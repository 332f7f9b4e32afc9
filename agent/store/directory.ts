/**
 * The state directory as the store uses it, locked against a second agent: the seam at which tests inject faults.
 * Names are relative to the directory. Everything is asynchronous, so that a slow disk never blocks the event loop.
 */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { constants as osConstants } from "node:os";
import { dirname, join, resolve } from "node:path";
import { GatewayError } from "../../lib/model/errors.ts";
import { errnoText, libcFunction } from "../kernel/libc.ts";

export interface StateDirectory {
  readonly path: string;
  list(): Promise<readonly string[]>;
  /**
   * The whole file, made durable before it is believed: a killed predecessor may have left what only the page
   * cache holds. `undefined` where there is none.
   */
  read(name: string): Promise<Buffer | undefined>;
  /** Opens for writing; `create` makes the file, or empties it. */
  open(name: string, how: "create" | "existing"): Promise<StateFile>;
  rename(from: string, to: string): Promise<void>;
  /** Absent already is a success. */
  remove(name: string): Promise<void>;
  /** Makes names durable: those created, renamed and removed. */
  sync(): Promise<void>;
  /** Gives up the lock. */
  close(): Promise<void>;
}

export interface StateFile {
  /** May write less than asked, as write(2) may. @returns the bytes written. */
  write(bytes: Buffer, position: number): Promise<number>;
  truncate(length: number): Promise<void>;
  /** Returns once content and length are on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Creates the directory (0700) where it is missing, and locks it. Throws `already-running` where another process has it. */
export async function openStateDirectory(path: string): Promise<StateDirectory> {
  const absolute = resolve(path);
  await make(absolute);
  const handle = await open(absolute, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    lock(handle, absolute);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return new LockedDirectory(absolute, handle);
}

class LockedDirectory implements StateDirectory {
  readonly path: string;
  readonly #handle: FileHandle;

  constructor(path: string, handle: FileHandle) {
    this.path = path;
    this.#handle = handle;
  }

  list(): Promise<readonly string[]> {
    return readdir(this.path);
  }

  async read(name: string): Promise<Buffer | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(join(this.path, name), "r");
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
      throw error;
    }
    try {
      await handle.datasync();
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  }

  async open(name: string, how: "create" | "existing"): Promise<StateFile> {
    const handle = await open(join(this.path, name), how === "create" ? "w" : "r+", 0o600);
    return {
      write: async (bytes, position) => (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
      truncate: (length) => handle.truncate(length),
      sync: () => handle.datasync(),
      close: () => handle.close(),
    };
  }

  rename(from: string, to: string): Promise<void> {
    return rename(join(this.path, from), join(this.path, to));
  }

  remove(name: string): Promise<void> {
    return rm(join(this.path, name), { force: true });
  }

  sync(): Promise<void> {
    return this.#handle.sync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** A new directory's own entry is durable once its parent is synced. */
async function make(path: string): Promise<void> {
  const topmost = await mkdir(path, { recursive: true, mode: 0o700 });
  if (topmost === undefined) return;
  let made = path;
  do {
    made = dirname(made);
    const parent = await open(made, "r");
    try {
      await parent.sync();
    } finally {
      await parent.close();
    }
  } while (made !== dirname(topmost));
}

const flock = libcFunction<[fd: number, operation: number]>("int flock(int, int)");
const lockExclusive = 2;
const lockNonBlocking = 4;

/**
 * flock(2) on the directory itself: it needs no file that a full or read-only disk could not make, no rename of the
 * journal loses it, and the kernel releases it however the process ends.
 */
function lock(handle: FileHandle, path: string): void {
  const result = flock(handle.fd, lockExclusive | lockNonBlocking);
  if (result === 0) return;
  if (-result === osConstants.errno.EWOULDBLOCK) {
    throw new GatewayError("already-running", `another agent uses the state directory ${path}`);
  }
  throw new GatewayError("storage-unavailable", `cannot lock ${path}: ${errnoText(-result)}`);
}
