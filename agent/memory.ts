/**
 * Returns memory to the system when the agent is idle. V8 and malloc keep the memory of a large pass for reuse. After a
 * PUT of 10,000 objects this is as much again as the agent needs when idle.
 */

import { measureMemory } from "node:vm";
import { releaseCodePages } from "./code-pages.ts";
import { libcFunction } from "./kernel/libc.ts";
import type { Log } from "./log.ts";

/** CPU share (of one core) above which the agent is not idle. */
const idleShare = 0.1;
/** With less excess memory, a collection (about 0.1 s of CPU) is not worth it. */
const worthwhileBytes = 32 << 20;
/** Looks at rest between the collection and the return of the memory. Meanwhile, after 8 s, V8 collects again. */
const looksToReturn = 6;

/** CPU time of this process so far, in microseconds. */
type CpuUsage = () => { readonly user: number; readonly system: number };

/**
 * Frees what nobody holds any more, beside other work: the start of V8's incremental collection, which no other call makes. At once
 * it would stop everything for 2 to 12 ms for each MiB that lives. Some seconds later V8 collects again by itself, which returns the
 * memory. Resolves when the first collection has ended.
 */
export async function collectGarbage(): Promise<void> {
  const { emitWarning } = process;
  // It warns that it is experimental. Only the start of a collection is needed.
  process.emitWarning = () => {};
  const measured = measureMemory({ mode: "summary", execution: "eager" });
  process.emitWarning = emitWarning;
  await measured;
}

/** @returns what ends it */
export function keepMemoryLow(log: Log): () => Promise<void> {
  const keeper = new MemoryKeeper(log);
  keeper.start();
  return () => keeper.stop();
}

export class MemoryKeeper {
  readonly #log: Log;
  readonly #intervalMs: number;
  readonly #cpuUsage: CpuUsage;
  #timer: NodeJS.Timeout | undefined;
  #usedMs = 0;
  /** The least resident bytes since the last collection. Memory above this is the excess. */
  #floor = 0;
  /** What was resident before the collection whose memory is returned next. */
  #before: number | undefined;
  #looksLeft = 0;
  #isAtWork = false;

  constructor(log: Log, intervalMs = 2_000, cpuUsage: CpuUsage = () => process.cpuUsage()) {
    this.#log = log;
    this.#intervalMs = intervalMs;
    this.#cpuUsage = cpuUsage;
  }

  start(): void {
    this.#usedMs = this.#cpuMs();
    this.#timer = setInterval(() => void this.#look(), this.#intervalMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const usedMs = this.#cpuMs();
    const isResting = usedMs - this.#usedMs < idleShare * this.#intervalMs;
    this.#usedMs = usedMs;
    const resident = process.memoryUsage.rss();
    this.#floor = Math.min(this.#floor, resident);
    if (this.#isAtWork || !isResting) return;
    this.#isAtWork = true;
    await this.#collectOrReturn(resident);
    this.#isAtWork = false;
  }

  /** What more work left after a collection is collected first. */
  async #collectOrReturn(resident: number): Promise<void> {
    const before = this.#before;
    if (resident - (before ?? this.#floor) >= worthwhileBytes) {
      await collectGarbage();
      this.#before = resident;
      this.#looksLeft = looksToReturn;
    } else if (before !== undefined && --this.#looksLeft === 0) {
      await mallocTrim.async(0);
      await releaseCodePages();
      this.#before = undefined;
      this.#floor = process.memoryUsage.rss();
      this.#log.debug({ before, after: this.#floor }, "memory returned to the system");
    }
  }

  #cpuMs(): number {
    const { user, system } = this.#cpuUsage();
    return (user + system) / 1000;
  }
}

/** glibc's malloc_trim(3): returns free pages of all arenas to the system. */
const mallocTrim = libcFunction<[keep: number]>("int malloc_trim(size_t)");
