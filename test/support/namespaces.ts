/**
 * Network namespaces by name. Those of a test carry the pid of the process that made them, so that what a
 * killed run left behind is told from what a living one still uses.
 */
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, until } from "./run.ts";

const namespaceDirectory = "/run/netns";
const ownedByTest = /^natgwt-([0-9]+)-/;

/** The command line that runs `argv` inside a namespace; `ip` replaces itself, so the pid is the command's own. */
export function inNamespace(namespace: string, argv: readonly string[]): readonly string[] {
  return ["ip", "netns", "exec", namespace, ...argv];
}

/** The same for a program of ours, without what the test runner slips to every Node that a test starts. */
export function nodeInNamespace(namespace: string, args: readonly string[]): readonly string[] {
  return inNamespace(namespace, ["env", "-u", "NODE_OPTIONS", process.execPath, ...args]);
}

/** Applies `ip` commands, one a line, inside a namespace: all by one process. */
export async function ipBatch(namespace: string, lines: readonly string[]): Promise<void> {
  await run("ip", ["-n", namespace, "-batch", "-"], { input: `${lines.join("\n")}\n` });
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

/** Ends every process inside a namespace and removes it; one that is gone already is fine. */
export async function deleteNamespace(name: string): Promise<void> {
  if (!(await listNamespaces()).includes(name)) return;
  try {
    await until(`the end of the processes in ${name}`, async () => {
      const pids = await pidsIn(name);
      for (const pid of pids) killIfAlive(pid);
      return pids.length === 0;
    });
    await run("ip", ["netns", "delete", name]);
  } catch (error) {
    // Two may sweep up after the same dead one.
    if ((await listNamespaces()).includes(name)) throw error;
  }
}

export async function pidsIn(namespace: string): Promise<readonly number[]> {
  const output = await run("ip", ["netns", "pids", namespace]);
  return output.split("\n").filter(Boolean).map(Number);
}

/** A name, unique on this machine, that tells which process it belongs to. */
export function testName(tag: string): string {
  return `natgwt-${process.pid}-${tag}`;
}

/** Removes the namespaces and directories of test processes that are no more. @returns what was removed. */
export async function sweep(): Promise<readonly string[]> {
  const namespaces = (await listNamespaces()).filter(isLeftover);
  for (const name of namespaces) await deleteNamespace(name);
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
