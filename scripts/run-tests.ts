/**
 * Runs test files, each in a process of its own, and prints TAP: `run-tests.ts JOBS FILE...`. The files of a folder share
 * one process. `JOBS` run at a time, and up to six more while an eighth of the processors' time is idle: many tests mostly wait. A
 * comment at the end has the counts of assertions. `tap run` does the same, but loads hooks for coverage into every process, which
 * costs a second of CPU time for each file.
 */
import { cpus } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t from "tap";

const timeoutSeconds = 900;
const lookMs = 1_000;
/** Files beside the others while the processors are idle. */
const moreJobs = 6;
const idleShare = 1 / 8;
/** Begun last, one of them would run alone in the end: they begin first. */
const slowest = [
  "netns/nat-gateway-script",
  "faults/obstructions",
  "netns/replicas",
  "faults/address-fights",
  "faults/foreign-rules",
  "faults/vanished-eip-leaks",
  "unit/agent/api",
  "netns/flows",
  "chaos/crash",
  "chaos/tools",
  "property/agent/reconciler",
  "netns/import",
  "chaos/model-agrees",
  "netns/lifecycle",
  "netns/prometheus",
  "netns/accounting",
  "clients/clients",
  "netns/confined",
  "faults/restart-loses-all",
  "netns/api-guard",
  "netns/binding",
  "netns/gate",
];
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
for (const name of slowestFirst(names)) {
  while (running.size >= Number(jobs) + (isIdle ? moreJobs : 0))
    await Promise.race([...running, delay(lookMs)]);
  const run: Promise<unknown> = start(name).then(() => running.delete(run));
  running.add(run);
  isIdle = false;
}

function slowestFirst(files: readonly string[]): readonly string[] {
  const rank = new Map(slowest.map((name, index) => [`test/${name}`, index]));
  const rankOf = (file: string) => rank.get(file.replace(/\.test\.ts$/, "")) ?? slowest.length;
  return files.toSorted((one, other) => rankOf(one) - rankOf(other));
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
