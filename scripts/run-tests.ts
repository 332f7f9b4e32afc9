/**
 * Runs test files, `jobs` at a time, each in a process of its own, and prints TAP: `run-tests.ts JOBS FILE...`. The files
 * of a folder share one process. A comment at the end has the counts of assertions. `tap run` does the same, but loads hooks for coverage into every
 * process, which costs a second of CPU time for each file.
 */
import { fileURLToPath } from "node:url";
import t from "tap";

const timeoutSeconds = 900;
const runGroup = fileURLToPath(new URL("run-group.ts", import.meta.url));
const [jobs, ...names] = process.argv.slice(2);

// Only the files have a time limit.
t.setTimeout(0);
t.jobs = Number(jobs);
for (const name of names) {
  const program = name.endsWith(".ts") ? [name] : [runGroup, name];
  t.spawn("env", ["-u", "NODE_OPTIONS", process.execPath, ...program], {
    name,
    buffered: true,
    timeout: timeoutSeconds * 1_000,
    env: { ...process.env, TAP: "1", TAP_TIMEOUT: String(timeoutSeconds) },
  });
}
