/** Which file a name leads to. */
import type { BigIntStats } from "node:fs";
import { stat } from "node:fs/promises";

/** Device and inode: tells a file from every other for as long as it is open. */
export function idOf({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`;
}

/** `undefined` where there is none. */
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
