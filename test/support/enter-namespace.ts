/** Moves this process into a network namespace, so that a test can call parts of the agent there directly. */
import { closeSync, openSync } from "node:fs";
import { errnoName, libcFunction } from "../../agent/kernel/libc.ts";

const CLONE_NEWNET = 0x40000000;
const setns = libcFunction<[fd: number, type: number]>("int setns(int, int)");

/**
 * From now on, sockets and children of the main thread are in `namespace`. Existing threads stay where they were.
 * @returns a function that goes back
 */
export function enterNamespace(namespace: string): () => void {
  const home = openSync("/proc/self/ns/net", "r");
  enter(`/run/netns/${namespace}`);
  return () => {
    enter(`/proc/self/fd/${home}`);
    closeSync(home);
  };
}

function enter(path: string): void {
  const fd = openSync(path, "r");
  const result = setns(fd, CLONE_NEWNET);
  closeSync(fd);
  if (result < 0) throw new Error(`setns ${path}: ${errnoName(-result)}`);
}
