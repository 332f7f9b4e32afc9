/** Tells which file a path leads to. */
import type { BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";

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
