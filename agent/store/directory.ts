/**
 * The state directory as the store uses it, locked against a second agent: the seam at which tests inject faults.
 * Names are relative to the directory. Everything is asynchronous, so that a slow disk never blocks the event loop.
 */
import { constants } from "node:fs";
import { open, readdir, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
import { idOf, statOf, unlessAbsent } from "./file-id.ts";

export interface StateDirectory {
  readonly path: string;
  list(): Promise<readonly string[]>;
  /**
   * The whole file, made durable before it is believed: a killed predecessor may have left what only the page
   * cache holds. `undefined` where there is none.
   */
  read(name: string): Promise<{ readonly bytes: Buffer; readonly id: string } | undefined>;
  /** Opens for writing; `create` makes the file, or empties it. */
  open(name: string, how: "create" | "existing"): Promise<StateFile>;
  rename(from: string, to: string): Promise<void>;
  /** Absent already is a success. */
  remove(name: string): Promise<void>;
  /** Makes names durable: those created, renamed and removed. */
  sync(): Promise<void>;
  /** What the name leads to now, whatever was opened by it before. Two calls of stat(2). */
  look(name: string): Promise<Look>;
  /**
   * Where the path no longer leads to the locked directory: creates what is missing and locks what it leads to. Throws
   * `already-running` where another agent has that.
   */
  hold(): Promise<void>;
  /** Gives up the lock. */
  close(): Promise<void>;
}

export interface Look {
  /** The path leads to the directory that is locked. */
  readonly isHeld: boolean;
  readonly file: { readonly id: string; readonly length: number } | undefined;
}

export interface StateFile {
  /** Tells the file from every other as long as it is open: device and inode. */
  readonly id: string;
  /** Writes at the file's end, wherever that is by now. May take less than asked, as write(2) may. @returns the bytes written. */
  append(bytes: Buffer): Promise<number>;
  truncate(length: number): Promise<void>;
  /** Returns once content and length are on the disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Creates the directory (0700) where it is missing, and locks it. Throws `already-running` where another process has it. */
export async function openStateDirectory(path: string): Promise<StateDirectory> {
  const absolute = resolve(path);
  return new LockedDirectory(absolute, await lockDirectory(absolute));
}

class LockedDirectory implements StateDirectory {
  readonly path: string;
  #lock: DirectoryLock;

  constructor(path: string, lock: DirectoryLock) {
    this.path = path;
    this.#lock = lock;
  }

  list(): Promise<readonly string[]> {
    return readdir(this.path);
  }

  async read(name: string): Promise<{ readonly bytes: Buffer; readonly id: string } | undefined> {
    const handle = await unlessAbsent(open(join(this.path, name), "r"));
    if (handle === undefined) return undefined;
    try {
      await handle.datasync();
      return { bytes: await handle.readFile(), id: idOf(await handle.stat({ bigint: true })) };
    } finally {
      await handle.close();
    }
  }

  async open(name: string, how: "create" | "existing"): Promise<StateFile> {
    const made = how === "create" ? constants.O_CREAT | constants.O_TRUNC : 0;
    const flags = constants.O_WRONLY | constants.O_APPEND | made;
    const handle = await open(join(this.path, name), flags, 0o600);
    try {
      return {
        id: idOf(await handle.stat({ bigint: true })),
        append: async (bytes) => (await handle.write(bytes)).bytesWritten,
        truncate: (length) => handle.truncate(length),
        sync: () => handle.datasync(),
        close: () => handle.close(),
      };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  rename(from: string, to: string): Promise<void> {
    return rename(join(this.path, from), join(this.path, to));
  }

  remove(name: string): Promise<void> {
    return rm(join(this.path, name), { force: true });
  }

  sync(): Promise<void> {
    return this.#lock.handle.sync();
  }

  async look(name: string): Promise<Look> {
    const [isHeld, file] = await Promise.all([this.#isHeld(), statOf(join(this.path, name))]);
    return { isHeld, file: file && { id: idOf(file), length: Number(file.size) } };
  }

  async hold(): Promise<void> {
    if (await this.#isHeld()) return;
    const { handle } = this.#lock;
    this.#lock = await lockDirectory(this.path);
    await handle.close();
  }

  close(): Promise<void> {
    return this.#lock.handle.close();
  }

  async #isHeld(): Promise<boolean> {
    const directory = await statOf(this.path);
    return directory !== undefined && idOf(directory) === this.#lock.id;
  }
}
