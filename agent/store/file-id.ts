/** Tells which file a path leads to. */
import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";

/** Device and inode. Unique while the file is open. */
export function idOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

/** `undefined` if the path does not exist. */
export function statOf(path: string): Promise<BigIntStats | undefined> {
  return unlessAbsent(stat(path, { bigint: true }));
}

export async function unlessAbsent<T>(finding: Promise<T>): Promise<T | undefined> {
  try {
    return await finding;
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw error;
  }
}

const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;

/**
 * Opens a file of ours to read it. `undefined` if it does not exist, or another program has put something else in its place: a
 * directory, a link, or a named pipe, which would keep a thread for ever.
 */
export async function openRegular(path: string): Promise<FileHandle | undefined> {
  const handle = await unlessAbsent(open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW).catch(unlessLink));
  if (handle === undefined || (await handle.stat()).isFile()) return handle;
  await handle.close();
  return undefined;
}

/** O_NOFOLLOW refuses a link by ELOOP; a socket cannot be opened by ENXIO. */
function unlessLink(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ELOOP" && error.code !== "ENXIO") throw error;
  return undefined;
}
