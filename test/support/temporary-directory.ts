/** Directories of tests in the machine's temporary directory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testName } from "./namespaces.ts";

const made: string[] = [];

/**
 * A new directory. It is removed when the process ends. If the process is killed, the sweep of a later run removes it: its name
 * has the pid.
 */
export function temporaryDirectory(tag: string): string {
  if (made.length === 0) process.once("exit", removeAll);
  const path = mkdtempSync(join(tmpdir(), `${testName(tag)}-`));
  made.push(path);
  return path;
}

function removeAll(): void {
  for (const path of made) rmSync(path, { recursive: true, force: true });
}
