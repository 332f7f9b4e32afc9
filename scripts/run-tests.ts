/**
 * Runs test files, each in a process of its own, and prints TAP: `run-tests.ts JOBS FILE...`. The files of a folder share
 * one process. `JOBS` run at a time, and up to two more while a third of the processors' time is idle, because many tests mostly
 * wait. A comment at the end has the counts of assertions. `tap run` does the same, but loads hooks for coverage into every
 * process, which costs a second of CPU time for each file.
 */
import { cpus } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";

const timeoutSeconds = 900;
const lookMs = 2_000;
/** Files beside the others while the processors are idle. */
const moreJobs = 2;
const idleShare = 1 / 3;
const runGroup = fileURLToPath(new URL("run-group.ts", import.meta.url));
const [jobs, ...names] = process.argv.slice(2);

// Only the files have a time limit.
t.setTimeout(0);
t.jobs = Number(jobs) + moreJobs;
let isIdle = false;
let before = cpuTimes();
setInterval(() => {
  const now = cpuTimes();
  isIdle = now.idle - before.idle > (now.all - before.all) * idleShare;
  before = now;
}, lookMs).unref();

const running = new Set<Promise<unknown>>();
for (const name of names) {
  while (running.size >= Number(jobs) + (isIdle ? moreJobs : 0))
    await Promise.race([...running, delay(lookMs)]);
  const run: Promise<unknown> = start(name).then(() => running.delete(run));
  running.add(run);
  isIdle = false;
}

async function start(name: string): Promise<void> {
  const program = name.endsWith(".ts") ? [name] : [runGroup, name];
  await t.spawn("env", ["-u", "NODE_OPTIONS", process.execPath, ...program], {
    name,
    buffered: true,
    timeout: timeoutSeconds * 1_000,
    env: { ...process.env, TAP: "1", TAP_TIMEOUT: String(timeoutSeconds) },
  });
}

function cpuTimes(): { readonly idle: number; readonly all: number } {
  const all = cpus().map(({ times }) => times);
  const sum = (of: (times: (typeof all)[number]) => number) =>
    all.reduce((total, times) => total + of(times), 0);
  return {
    idle: sum(({ idle }) => idle),
    all: sum(({ user, nice, sys, idle, irq }) => user + nice + sys + idle + irq),
  };
}
