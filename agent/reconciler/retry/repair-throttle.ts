/**
 * Things that somebody undoes as often as the agent puts them right. Answering at once for ever would only heat the
 * machine: after a few quick repairs each further one of that very thing waits, longer each time, never for ever.
 * Whatever else is to be done does not wait with it.
 *
 * Times are milliseconds of a monotonic clock that the caller reads.
 */
import type { Change } from "../../../lib/model/change.ts";

export interface ThrottledRepair {
  /** The repair that is undone again and again. */
  readonly change: Change;
  readonly repairs: number;
  /** How long the next repair waits after the last one. */
  readonly pauseMs: number;
}

/** Names a repair: the same text means that the same thing was undone. */
export type ChangeKey = string;

/** So many repairs of one thing within {@link windowMs} are an accident; one more is a fight. */
export const maxQuickRepairs = 5;
export const windowMs = 10_000;
const firstPauseMs = 500;
const maxPauseMs = 5_000;
/** A thing that needed no repair for so long is at peace. */
export const calmMs = 15_000;

interface Entry {
  readonly change: Change;
  /** When the last few repairs were made, oldest first. */
  readonly recentMs: readonly number[];
  readonly repairs: number;
  /** 0 while it is no fight. */
  readonly pauseMs: number;
}

export class RepairThrottle {
  readonly #entries = new Map<ChangeKey, Entry>();

  /** Remembers one more repair of each. */
  record(repairs: readonly Change[], nowMs: number): void {
    this.#forget(nowMs);
    for (const change of repairs) {
      const key = keyOf(change);
      this.#entries.set(key, repaired(change, this.#entries.get(key), nowMs));
    }
  }

  /** Those of `repairs` that have to wait. */
  throttled(repairs: readonly Change[], nowMs: number): ReadonlySet<ChangeKey> {
    const throttled = new Set<ChangeKey>();
    if (this.#entries.size === 0) return throttled;
    for (const change of repairs) {
      const key = keyOf(change);
      if (nextMs(this.#entries.get(key)) > nowMs) throttled.add(key);
    }
    return throttled;
  }

  /** The fights that go on, or ended a moment ago. */
  current(nowMs: number): readonly ThrottledRepair[] {
    this.#forget(nowMs);
    return [...this.#entries.values()].filter(({ pauseMs }) => pauseMs > 0);
  }

  /** Milliseconds until the first of `throttled` may be repaired, or else until the first fight is over. */
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
  const isFight = (before?.pauseMs ?? 0) > 0 || recentMs.length > maxQuickRepairs;
  const pauseMs = isFight ? Math.min(Math.max(firstPauseMs, 2 * (before?.pauseMs ?? 0)), maxPauseMs) : 0;
  return { change, recentMs, repairs: (before?.repairs ?? 0) + 1, pauseMs };
}

function nextMs(entry: Entry | undefined): number {
  if (entry === undefined || entry.pauseMs === 0) return Number.NEGATIVE_INFINITY;
  return lastMs(entry) + entry.pauseMs;
}

function lastMs({ recentMs }: Entry): number {
  return recentMs.at(-1) ?? 0;
}
