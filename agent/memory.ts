/**
 * Gives memory back when the agent comes to rest. V8 and malloc keep what a large pass needed in case it comes again, which
 * may be next week: after 10,000 objects were put that is twice what the agent lives on.
 */

import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { libcFunction } from "./kernel/libc.ts";
import type { Log } from "./log.ts";

/** More of a core than that, and the agent is at work. */
const restingShare = 0.1;
/** Less than that is not worth the tenth of a second that it takes. */
const worthwhileBytes = 32 << 20;

type Collect = (options: { readonly type: "major"; readonly flavor: "last-resort" }) => void;

/** Microseconds of a core that the process has used so far. */
type CpuUsage = () => { readonly user: number; readonly system: number };

export class MemoryKeeper {
  readonly #log: Log;
  readonly #intervalMs: number;
  readonly #cpuUsage: CpuUsage;
  #timer: NodeJS.Timeout | undefined;
  #collect: Collect | undefined;
  #usedMs = 0;
  /** Resident bytes after the last time; what is above is the excess. */
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
    const isResting = usedMs - this.#usedMs < restingShare * this.#intervalMs;
    this.#usedMs = usedMs;
    const before = process.memoryUsage.rss();
    if (!isResting || before - this.#floor < worthwhileBytes) return;
    this.#collect?.({ type: "major", flavor: "last-resort" });
    mallocTrim(0);
    this.#floor = process.memoryUsage.rss();
    this.#log.debug({ before, after: this.#floor }, "memory given back");
  }

  #cpuMs(): number {
    const { user, system } = this.#cpuUsage();
    return (user + system) / 1000;
  }
}

/** V8's collector, which a flag shows to contexts that are made after it. */
function exposeCollector(): Collect {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as Collect;
}

/** glibc's: returns the free pages of all arenas to the system. */
const mallocTrim = libcFunction<[keep: number]>("int malloc_trim(size_t)");
