/**
 * Network namespaces by name. Names in tests contain the pid of the creating process, so that leftovers of a killed run
 * can be told from namespaces in use.
 */
import { readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run, until } from "./run.ts";

const namespaceDirectory = "/run/netns";
const ownedByTest = /^natgwt-([0-9]+)-/;

/** The command line that runs `argv` inside a namespace. `ip` execs it, so the pid is that of the command. */
export function inNamespace(namespace: string, argv: readonly string[]): readonly string[] {
  return ["ip", "netns", "exec", namespace, ...argv];
}

/**
 * The same for a Node program of ours, without the options that the test runner adds to every Node process. `launcher`
 * is put before Node's command line.
 */
export function nodeInNamespace(
  namespace: string,
  args: readonly string[],
  launcher: readonly string[] = [],
): readonly string[] {
  return inNamespace(namespace, ["env", "-u", "NODE_OPTIONS", ...launcher, process.execPath, ...args]);
}

/** Runs `ip` commands, one per line, inside a namespace with one process. */
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

/** Ends every process inside a namespace and removes it. Succeeds also if it is already gone. */
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
    // Two sweeps may remove the same leftover.
    if ((await listNamespaces()).includes(name)) throw error;
  }
}

export async function pidsIn(namespace: string): Promise<readonly number[]> {
  const output = await run("ip", ["netns", "pids", namespace]);
  return output.split("\n").filter(Boolean).map(Number);
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
