/**
 * Returns memory to the system when the agent is idle. V8 and malloc keep the memory of a large pass for reuse. After a
 * PUT of 10,000 objects this is as much again as the agent needs when idle.
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { releaseCodePages } from "./code-pages.ts";
import { libcFunction } from "./kernel/libc.ts";
import type { Log } from "./log.ts";

/** CPU share (of one core) above which the agent is not idle. */
const idleShare = 0.1;
/** With less excess memory, a collection (about 0.1 s of CPU) is not worth it. */
const worthwhileBytes = 32 << 20;

type Collect = (options: { readonly type: "major"; readonly flavor?: "last-resort" }) => void;

/** CPU time of this process so far, in microseconds. */
type CpuUsage = () => { readonly user: number; readonly system: number };

let collect: Collect | undefined;

/** Frees at once what nobody holds any more. Takes some 50 ms; for the end of work that leaves hundreds of MiB behind. */
export function collectGarbage(): void {
  collect ??= exposeCollector();
  collect({ type: "major" });
}

export class MemoryKeeper {
  readonly #log: Log;
  readonly #intervalMs: number;
  readonly #cpuUsage: CpuUsage;
  #timer: NodeJS.Timeout | undefined;
  #collect: Collect | undefined;
  #usedMs = 0;
  /** Resident bytes after the last collection. Memory above this is the excess. */
  #floor = 0;

  constructor(log: Log, intervalMs = 2_000, cpuUsage: CpuUsage = () => process.cpuUsage()) {
    this.#log = log;
    this.#intervalMs = intervalMs;
    this.#cpuUsage = cpuUsage;
  }

  start(): void {
    this.#collect = exposeCollector();
    this.#usedMs = this.#cpuMs();
    this.#timer = setInterval(() => this.#look(), this.#intervalMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
  }

  #look(): void {
    const usedMs = this.#cpuMs();
    const isResting = usedMs - this.#usedMs < idleShare * this.#intervalMs;
    this.#usedMs = usedMs;
    const before = process.memoryUsage.rss();
    if (!isResting || before - this.#floor < worthwhileBytes) return;
    this.#collect?.({ type: "major", flavor: "last-resort" });
    mallocTrim(0);
    releaseCodePages();
    this.#floor = process.memoryUsage.rss();
    this.#log.debug({ before, after: this.#floor }, "memory returned to the system");
  }

  #cpuMs(): number {
    const { user, system } = this.#cpuUsage();
    return (user + system) / 1000;
  }
}

/** V8's garbage collector. A V8 flag exposes it to contexts created after the flag is set. */
function exposeCollector(): Collect {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as Collect;
}

/** glibc's malloc_trim(3): returns free pages of all arenas to the system. */
const mallocTrim = libcFunction<[keep: number]>("int malloc_trim(size_t)");
