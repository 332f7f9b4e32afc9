/**
 * The daemon with a profiler. SIGWINCH, which the daemon does not use, starts a profile; the next one ends it and
 * writes it to the directory in BENCH_PROFILES. BENCH_AGENT is the daemon's entry file.
 */
import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { join } from "node:path";
import { profileName } from "./profile.ts";

const session = new Session();
session.connect();
let isRunning = false;

async function toggle(): Promise<void> {
  if (!isRunning) {
    await session.post("Profiler.enable");
    await session.post("Profiler.setSamplingInterval", { interval: 500 });
    await session.post("Profiler.start");
    isRunning = true;
    write("");
    return;
  }
  const { profile } = await session.post("Profiler.stop");
  isRunning = false;
  write(JSON.stringify(profile));
}

/** An empty file says that the profiler is running. Written atomically, because another process waits for it. */
function write(text: string): void {
  const path = join(process.env.BENCH_PROFILES ?? "/tmp", profileName(process.pid));
  writeFileSync(`${path}.part`, text);
  renameSync(`${path}.part`, path);
}

process.on("SIGWINCH", () => void toggle());
await import(process.env.BENCH_AGENT ?? "../../agent/main.ts");
