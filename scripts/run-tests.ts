/**
 * Runs test files, `jobs` at a time, each in a process of its own, and prints TAP: `run-tests.ts JOBS FILE...`.
 * A comment at the end has the counts of assertions. `tap run` does the same, but loads hooks for coverage into every
 * process, which costs a second of CPU time for each file.
 */
import t from "tap";

const timeoutSeconds = 480;
const [jobs, ...files] = process.argv.slice(2);

// Only the files have a time limit.
t.setTimeout(0);
t.jobs = Number(jobs);
for (const file of files)
  t.spawn("env", ["-u", "NODE_OPTIONS", process.execPath, file], {
    name: file,
    buffered: true,
    timeout: timeoutSeconds * 1_000,
    env: { ...process.env, TAP: "1", TAP_TIMEOUT: String(timeoutSeconds) },
  });
