/** Makes directories. `mkdir` of Node with `recursive` never ends where none can be made, as below /proc. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a directory and those above it that are missing.
 *
 * @returns the first one that was made; `undefined` if the directory was there
 */
export async function makeDirectories(path: string, mode?: number): Promise<string | undefined> {
  const error = await make(path, mode);
  if (error === undefined) return path;
  const parent = dirname(path);
  if (error.code === "EEXIST" && (await stat(path)).isDirectory()) return undefined;
  if (error.code !== "ENOENT" || parent === path) throw error;
  const topmost = await makeDirectories(parent, mode);
  const again = await make(path, mode);
  if (again !== undefined && again.code !== "EEXIST") throw again;
  return topmost ?? path;
}

function make(path: string, mode: number | undefined): Promise<NodeJS.ErrnoException | undefined> {
  return mkdir(path, { mode }).then(
    () => undefined,
    (error: NodeJS.ErrnoException) => error,
  );
}
