/**
 * The daemon with a meter of the CPU time of its main thread in one turn of the event loop. What other processes on the
 * machine take does not count. SIGWINCH, which the daemon does not use, writes the most since the last one, in ms, to the
 * file in BENCH_TURNS. BENCH_AGENT is the daemon's entry file.
 */
import { renameSync, writeFileSync } from "node:fs";

let most = 0;
let before = cpuMs();

/** Its own turn follows every other one. */
function turn(): void {
  const now = cpuMs();
  most = Math.max(most, now - before);
  before = now;
  setImmediate(turn);
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Written atomically, because another process waits for it. */
process.on("SIGWINCH", () => {
  const path = process.env.BENCH_TURNS ?? "/tmp/turns";
  writeFileSync(`${path}.part`, String(most));
  renameSync(`${path}.part`, path);
  most = 0;
});
setImmediate(turn);
await import(process.env.BENCH_AGENT ?? "../../agent/main.ts");
