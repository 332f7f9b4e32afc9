/**
 * The state directory as the store uses it, locked against a second agent. Tests inject disk faults at this interface.
 * File names are relative to the directory. All calls are asynchronous, so a slow disk does not block the event loop.
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
   * Reads the whole file. Syncs it first: after a kill, content may exist only in the page cache. `undefined` if there
   * is no such file.
   */
  read(name: string): Promise<{ readonly bytes: Buffer; readonly id: string } | undefined>;
  /** Opens for writing. `create` creates the file or truncates it. */
  open(name: string, how: "create" | "existing"): Promise<StateFile>;
  rename(from: string, to: string): Promise<void>;
  /** Succeeds also if the file does not exist. */
  remove(name: string): Promise<void>;
  /** Syncs the directory: created, renamed and removed names become durable. */
  sync(): Promise<void>;
  /** What the name leads to now, regardless of files opened earlier. Costs two calls of stat(2). */
  look(name: string): Promise<Look>;
  /**
   * If the path no longer leads to the locked directory: creates what is missing and locks the directory that is there
   * now. Throws `already-running` if another agent holds that lock.
   */
  hold(): Promise<void>;
  /** Releases the lock. */
  close(): Promise<void>;
}

export interface Look {
  /** Whether the path still leads to the locked directory. */
  readonly isHeld: boolean;
  readonly file: { readonly id: string; readonly length: number } | undefined;
}

export interface StateFile {
  /** Device and inode. Unique while the file is open. */
  readonly id: string;
  /**
   * Appends at the current end of the file. Like write(2), it may write fewer bytes than given.
   * @returns the number of bytes written
   */
  append(bytes: Buffer): Promise<number>;
  truncate(length: number): Promise<void>;
  /** Resolves when content and length are on disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Creates the directory (mode 0700) if it is missing, and locks it. Throws `already-running` if another process holds
 * the lock.
 */
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
