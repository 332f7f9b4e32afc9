/**
 * Delays repairs that another program undoes repeatedly. After a few quick repairs of the same thing, each further
 * repair of it waits longer, up to a limit. Other repairs do not wait.
 *
 * Times are milliseconds of a monotonic clock that the caller reads.
 */
import { type Chunked, forEachChunked } from "../../../lib/chunked.ts";
import type { Change } from "../../../lib/model/change.ts";

export interface ThrottledRepair {
  /** The repair that is undone repeatedly. */
  readonly change: Change;
  readonly repairs: number;
  /** How long the next repair waits after the last one, in ms. */
  readonly pauseMs: number;
}

/** Identifies a repair: equal texts mean that the same thing was undone. */
export type ChangeKey = string;

/** One repair more than this of the same thing within {@link windowMs}, and it is throttled. */
export const maxQuickRepairs = 5;
export const windowMs = 10_000;
const firstPauseMs = 500;
const maxPauseMs = 5_000;
/** After this time without a repair, a thing is no longer throttled. */
export const calmMs = 15_000;

/** Takes a few milliseconds. */
const lookedAtOnce = 3_000;

interface Entry {
  readonly change: Change;
  /** Times of the last few repairs, oldest first. */
  readonly recentMs: readonly number[];
  readonly repairs: number;
  /** 0 while it is not throttled. */
  readonly pauseMs: number;
}

export class RepairThrottle {
  readonly #entries = new Map<ChangeKey, Entry>();

  /** Counts one more repair of each. In parts. */
  *record(repairs: readonly Change[], nowMs: number): Chunked<void> {
    this.#forget(nowMs);
    yield* forEachChunked(repairs, lookedAtOnce, (change) => {
      const key = keyOf(change);
      this.#entries.set(key, repaired(change, this.#entries.get(key), nowMs));
    });
  }

  /** Those of `repairs` that have to wait. In parts. */
  *throttled(repairs: readonly Change[], nowMs: number): Chunked<ReadonlySet<ChangeKey>> {
    const throttled = new Set<ChangeKey>();
    if (this.#entries.size === 0) return throttled;
    yield* forEachChunked(repairs, lookedAtOnce, (change) => {
      const key = keyOf(change);
      if (nextMs(this.#entries.get(key)) > nowMs) throttled.add(key);
    });
    return throttled;
  }

  /** What is throttled now, or was until {@link calmMs} ago. */
  current(nowMs: number): readonly ThrottledRepair[] {
    this.#forget(nowMs);
    return [...this.#entries.values()].filter(({ pauseMs }) => pauseMs > 0);
  }

  /**
   * Milliseconds until the first of `throttled` may be repaired; without any, until the first thing is no longer
   * throttled.
   */
  dueInMs(throttled: ReadonlySet<ChangeKey>, nowMs: number): number | undefined {
    let dueMs = Number.POSITIVE_INFINITY;
    for (const [key, entry] of this.#entries) {
      if (throttled.has(key)) dueMs = Math.min(dueMs, nextMs(entry));
      else if (entry.pauseMs > 0) dueMs = Math.min(dueMs, lastMs(entry) + calmMs);
    }
    return dueMs === Number.POSITIVE_INFINITY ? undefined : Math.max(0, dueMs - nowMs);
  }

  #forget(nowMs: number): void {
    for (const [key, entry] of this.#entries) {
      if (nowMs - lastMs(entry) >= (entry.pauseMs > 0 ? calmMs : windowMs)) this.#entries.delete(key);
    }
  }
}

export function keyOf({ subsystem, action, text }: Change): ChangeKey {
  return `${subsystem} ${action} ${text}`;
}

function repaired(change: Change, before: Entry | undefined, nowMs: number): Entry {
  const recentMs = [...(before?.recentMs ?? []), nowMs]
    .filter((ms) => nowMs - ms < windowMs)
    .slice(-maxQuickRepairs - 1);
  const isThrottled = (before?.pauseMs ?? 0) > 0 || recentMs.length > maxQuickRepairs;
  const pauseMs = isThrottled ? Math.min(Math.max(firstPauseMs, 2 * (before?.pauseMs ?? 0)), maxPauseMs) : 0;
  return { change, recentMs, repairs: (before?.repairs ?? 0) + 1, pauseMs };
}

function nextMs(entry: Entry | undefined): number {
  if (entry === undefined || entry.pauseMs === 0) return Number.NEGATIVE_INFINITY;
  return lastMs(entry) + entry.pauseMs;
}

function lastMs({ recentMs }: Entry): number {
  return recentMs.at(-1) ?? 0;
}
