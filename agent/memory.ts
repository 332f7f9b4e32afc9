/**
 * Returns memory to the system when the agent is idle. V8 and malloc keep the memory of a large pass for reuse. After a
 * PUT of 10,000 objects this is as much again as the agent needs when idle.
 */

import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { measureMemory, runInNewContext } from "node:vm";
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

/**
 * With a larger heap, V8 collects beside other work: at once it would stop everything for about 1 ms for each MiB that
 * lives. 10,000 EIPs and FIPs stay below.
 */
const maxHeapAtOnce = 192 << 20;

/** Frees what nobody holds any more. For the end of work that leaves hundreds of MiB behind. */
export function collectGarbage(): void {
  if (isHeapLarge()) {
    void collectInParts();
    return;
  }
  collect ??= exposeCollector();
  collect({ type: "major" });
}

function isHeapLarge(): boolean {
  return getHeapStatistics().used_heap_size > maxHeapAtOnce;
}

/**
 * Starts V8's incremental collection: no other call does. Some seconds later V8 starts another one by itself, which returns
 * more. Resolves when the first has ended.
 */
async function collectInParts(): Promise<void> {
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
  #collect: Collect | undefined;
  #usedMs = 0;
  /** The least resident bytes since the last collection. Memory above this is the excess. */
  #floor = 0;
  #isCollecting = false;

  constructor(log: Log, intervalMs = 2_000, cpuUsage: CpuUsage = () => process.cpuUsage()) {
    this.#log = log;
    this.#intervalMs = intervalMs;
    this.#cpuUsage = cpuUsage;
  }

  start(): void {
    this.#collect = exposeCollector();
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
    const before = process.memoryUsage.rss();
    this.#floor = Math.min(this.#floor, before);
    if (this.#isCollecting || !isResting || before - this.#floor < worthwhileBytes) return;
    this.#isCollecting = true;
    if (isHeapLarge()) await collectInParts();
    else this.#collect?.({ type: "major", flavor: "last-resort" });
    await mallocTrim.async(0);
    await releaseCodePages();
    this.#isCollecting = false;
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
