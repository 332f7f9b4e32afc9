/**
 * Network namespaces by name. Names in tests contain the pid of the creating process, so that leftovers of a killed run
 * can be told from namespaces in use.
 */
import { statSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeShells, isShell, runIn } from "./in-namespace.ts";
import { run, until } from "./run.ts";

const namespaceDirectory = "/run/netns";
const ownedByTest = /^natgwt-([0-9]+)-/;

/** Runs `ip` commands, one per line, inside a namespace with one process. */
export async function ipBatch(namespace: string, lines: readonly string[]): Promise<void> {
  await runIn(namespace, ["ip", "-batch", "-"], { input: `${lines.join("\n")}\n` });
}

export async function addNamespaces(names: readonly string[]): Promise<void> {
  await run("ip", ["-batch", "-"], { input: names.map((name) => `netns add ${name}\n`).join("") });
}

export async function listNamespaces(): Promise<readonly string[]> {
  try {
    return (await readdir(namespaceDirectory)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Ends every process inside of namespaces and removes them. Succeeds also if they are already gone. */
export async function deleteNamespaces(names: readonly string[]): Promise<void> {
  const existing = await existingOf(names);
  if (existing.length === 0) return;
  try {
    await until(`the end of the processes in ${existing.join(", ")}`, async () => {
      await Promise.all(existing.map(closeShells));
      const pids = await pidsIn(...existing);
      for (const pid of pids) killIfAlive(pid);
      return pids.length === 0;
    });
    await run("ip", ["-force", "-batch", "-"], {
      input: existing.map((name) => `netns delete ${name}\n`).join(""),
    });
    // A shell that was opened meanwhile would keep its namespace.
    await Promise.all(existing.map(closeShells));
  } catch (error) {
    // Two sweeps may remove the same leftover.
    if ((await existingOf(names)).length > 0) throw error;
  }
}

async function existingOf(names: readonly string[]): Promise<readonly string[]> {
  const all = new Set(await listNamespaces());
  return names.filter((name) => all.has(name));
}

/** Without the shells that wait for a command there. */
export async function pidsIn(...namespaces: readonly string[]): Promise<readonly number[]> {
  const inside = new Set(namespaces.map((name) => identityOf(join(namespaceDirectory, name))));
  const pids = (await readdir("/proc")).map(Number).filter((pid) => pid > 0 && !isShell(pid));
  return pids.filter((pid) => {
    const own = identityOf(`/proc/${pid}/ns/net`);
    return own !== undefined && inside.has(own);
  });
}

/** `undefined` if there is no such namespace: a process may have ended. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** A name, unique on this machine, that contains the pid of this process. */
export function testName(tag: string): string {
  return `natgwt-${process.pid}-${tag}`;
}

/**
 * Removes namespaces and directories of test processes that no longer exist.
 * @returns what was removed
 */
export async function sweep(): Promise<readonly string[]> {
  const namespaces = (await listNamespaces()).filter(isLeftover);
  await deleteNamespaces(namespaces);
  const directories = (await readdir(tmpdir())).filter(isLeftover);
  for (const name of directories) await rm(join(tmpdir(), name), { recursive: true, force: true });
  return [...namespaces, ...directories];
}

function isLeftover(name: string): boolean {
  const pid = ownedByTest.exec(name)?.[1];
  return pid !== undefined && !isAlive(Number(pid));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if (hasCode(error, "ESRCH")) return false;
    throw error;
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error;
  }
}

function isMissing(error: unknown): boolean {
  return hasCode(error, "ENOENT");
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
