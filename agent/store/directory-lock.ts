/** The lock that keeps a second agent away from the state directory. */
import { constants } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { constants as osConstants } from "node:os";
import { dirname } from "node:path";
import { GatewayError } from "../../lib/model/errors.ts";
import { errnoText, libcFunction } from "../kernel/libc.ts";
import { idOf, statOf } from "./file-id.ts";

/** How often somebody may replace the directory while it is being locked. */
const maxAttempts = 5;

export interface DirectoryLock {
  /** The directory, open: closing it gives up the lock. */
  readonly handle: FileHandle;
  readonly id: string;
}

/**
 * Creates the directory (0700) where it is missing, and locks it. One that is replaced between being opened and locked
 * is no longer the one that `path` leads to: then once more. Throws `already-running` where another process has it.
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
  throw new GatewayError("storage-unavailable", `somebody replaces ${path} again and again`);
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
