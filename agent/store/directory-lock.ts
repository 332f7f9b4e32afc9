/** The lock that allows one agent per state directory. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { constants as osConstants } from "node:os";
import { dirname } from "node:path";
import { GatewayError } from "../../lib/model/errors.ts";
import { errnoText, libcFunction } from "../kernel/libc.ts";
import { makeDirectories } from "../make-directories.ts";
import { idOf, statOf } from "./file-id.ts";

/** Attempts to lock, if another program keeps replacing the directory. */
const maxAttempts = 5;

export interface DirectoryLock {
  /** The open directory. Closing it releases the lock. */
  readonly handle: FileHandle;
  readonly id: string;
}

/**
 * Creates the directory (mode 0700) if it is missing, and locks it. If the directory was replaced between open and
 * lock, tries again, 5 times in all. Throws `already-running` if another process holds the lock.
 */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    await make(path);
    const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      lock(handle, path);
      const id = idOf(await handle.stat({ bigint: true }));
      const there = await statOf(path);
      if (there !== undefined && idOf(there) === id) return { handle, id };
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
  }
  throw new GatewayError("storage-unavailable", `another program keeps replacing ${path}`);
}

/** A new directory is durable only after its parent was synced. */
async function make(path: string): Promise<void> {
  const topmost = await makeDirectories(path, 0o700);
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
 * Uses flock(2) on the directory itself. This needs no lock file, so it works on a full or read-only disk. Renaming the
 * journal does not lose the lock. The kernel releases it when the process ends, however it ends.
 */
function lock(handle: FileHandle, path: string): void {
  const result = flock(handle.fd, lockExclusive | lockNonBlocking);
  if (result === 0) return;
  if (-result === osConstants.errno.EWOULDBLOCK) {
    throw new GatewayError("already-running", `another agent uses the state directory ${path}`);
  }
  throw new GatewayError("storage-unavailable", `cannot lock ${path}: ${errnoText(-result)}`);
}
