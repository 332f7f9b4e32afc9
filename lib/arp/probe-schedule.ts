/**
 * When to probe again for an address that another host may hold, and which probes go first if more are due than may be sent.
 *
 * No host announces that it gives up an address. So the agent keeps probing: every second at first, later less often,
 * because the pause is a share of the time that the conflict has lasted. Packets of other hosts never make a pause
 * longer.
 *
 * Each group has a share of every batch, so a flood of claims does not delay a takeover. Within a group the address with
 * the oldest probe goes first, so no address delays another. Probes requested through the API go before all groups.
 */

/**
 * `addition`: addresses to add that another host answered for. `conflict`: held addresses that another host answered for.
 * `claim`: held addresses for which another host sent ARP packets. No probe has confirmed that yet.
 */
const groups = ["addition", "conflict", "claim"] as const;
export type ProbeGroup = (typeof groups)[number];

/** Minimum pause between two probes for one address, unless the API requests one. */
const minPauseMs = 1_000;
const maxPauseMs = 300_000;
/** The pause begins to grow after two minutes. */
const pauseShare = 1 / 120;
/** The pause grows randomly by up to this share, so that the probes of two gateways do not collide repeatedly. */
const jitterShare = 0.25;

const never = Number.POSITIVE_INFINITY;
const notYet = Number.NEGATIVE_INFINITY;

interface Times {
  readonly group: ProbeGroup;
  /** The time from which pauses are computed. */
  sinceMs: number;
  probedAtMs: number;
  /** {@link never} if nothing is to be probed, or while an answer is awaited. */
  dueAtMs: number;
  isAwaited: boolean;
}

/** Times are milliseconds of a monotonic clock that the caller reads. A task is identified by object identity. */
export class ProbeSchedule<Task> {
  readonly #times = new Map<Task, Times>();
  readonly #queues = {
    addition: new TaskQueue<Task>(),
    conflict: new TaskQueue<Task>(),
    claim: new TaskQueue<Task>(),
  } as const satisfies Record<ProbeGroup, TaskQueue<Task>>;
  readonly #urgent = new Set<Task>();

  /** There is a reason to probe now, or as soon as the shortest pause is over. Puts the task into the group. */
  schedule(task: Task, group: ProbeGroup, nowMs: number): void {
    const known = this.#times.get(task);
    const times = known?.group === group ? known : this.#move(task, group, known, nowMs);
    const isPaused = times.dueAtMs === never && !times.isAwaited;
    if (isPaused) times.sinceMs = nowMs;
    times.dueAtMs = Math.min(times.dueAtMs, Math.max(nowMs, times.probedAtMs + minPauseMs));
  }

  /** The address was probed just now and has to be probed again. */
  reschedule(task: Task, group: ProbeGroup, nowMs: number, chance: number): void {
    this.cancel(task);
    const times = this.#move(task, group, undefined, nowMs);
    times.probedAtMs = nowMs;
    times.dueAtMs = nextAt(times, nowMs, chance);
    this.#queues[group].add(task, true);
  }

  /** The API requests a result: probes before all others, and every second from now on. */
  scheduleNow(task: Task, nowMs: number): void {
    const times = this.#times.get(task);
    if (times === undefined) return;
    times.sinceMs = nowMs;
    times.dueAtMs = nowMs;
    this.#urgent.add(task);
  }

  /** Stops probing for now. Remembers the time of the last probe. */
  pause(task: Task): void {
    const times = this.#times.get(task);
    if (times !== undefined) {
      times.dueAtMs = never;
      times.isAwaited = false;
    }
    this.#urgent.delete(task);
  }

  cancel(task: Task): void {
    const times = this.#times.get(task);
    if (times !== undefined) this.#queues[times.group].delete(task);
    this.#times.delete(task);
    this.#urgent.delete(task);
  }

  /** The tasks to probe now, at most `max`. */
  take(nowMs: number, max: number): readonly Task[] {
    const taken: Task[] = [];
    const takeFrom = (tasks: Iterable<Task>, end: number) => {
      for (const task of tasks) {
        if (taken.length >= end) return;
        if (this.#begin(task, nowMs)) taken.push(task);
      }
    };
    takeFrom(this.#urgent, max);
    const share = Math.ceil((max - taken.length) / groups.length);
    for (const group of groups) takeFrom(this.#queues[group], Math.min(taken.length + share, max));
    // Capacity that one group does not use goes to the others.
    for (const group of groups) takeFrom(this.#queues[group], max);
    for (const task of taken) this.#onTaken(task);
    return taken;
  }

  /**
   * The probe was answered, got no answer in time, or could not be sent.
   *
   * @param chance from 0 to 1
   * @returns false if no answer is awaited any more
   */
  onResult(task: Task, nowMs: number, chance: number): boolean {
    const times = this.#times.get(task);
    if (times === undefined || !times.isAwaited) return false;
    times.isAwaited = false;
    // In the meantime there was a new reason to probe.
    if (times.dueAtMs !== never) return true;
    times.dueAtMs = nextAt(times, nowMs, chance);
    return true;
  }

  /** Milliseconds until a task is due. `undefined` if there is none. */
  dueInMs(nowMs: number): number | undefined {
    let dueAtMs = never;
    for (const times of this.#times.values())
      if (!times.isAwaited && times.dueAtMs < dueAtMs) dueAtMs = times.dueAtMs;
    return dueAtMs === never ? undefined : Math.max(0, dueAtMs - nowMs);
  }

  #move(task: Task, group: ProbeGroup, known: Times | undefined, nowMs: number): Times {
    const times = {
      probedAtMs: notYet,
      dueAtMs: never,
      isAwaited: false,
      ...known,
      group,
      sinceMs: nowMs,
    };
    if (known !== undefined) this.#queues[known.group].delete(task);
    this.#queues[group].add(task, times.probedAtMs !== notYet);
    this.#times.set(task, times);
    return times;
  }

  /** @returns false if it is not due */
  #begin(task: Task, nowMs: number): boolean {
    const times = this.#times.get(task);
    if (times === undefined || times.isAwaited || times.dueAtMs > nowMs) return false;
    times.isAwaited = true;
    times.probedAtMs = nowMs;
    times.dueAtMs = never;
    return true;
  }

  #onTaken(task: Task): void {
    this.#urgent.delete(task);
    const times = this.#times.get(task);
    if (times !== undefined) this.#queues[times.group].add(task, true);
  }
}

function nextAt({ sinceMs, probedAtMs }: Times, nowMs: number, chance: number): number {
  const pauseMs = Math.min(Math.max((nowMs - sinceMs) * pauseShare, minPauseMs), maxPauseMs);
  return probedAtMs + pauseMs * (1 + chance * jitterShare);
}

/** Tasks in the order of their last probes. Those never probed come first. */
class TaskQueue<Task> {
  readonly #fresh = new Set<Task>();
  readonly #probed = new Set<Task>();

  /** Adds the task, or moves it to the end. */
  add(task: Task, wasProbed: boolean): void {
    this.delete(task);
    (wasProbed ? this.#probed : this.#fresh).add(task);
  }

  delete(task: Task): void {
    this.#fresh.delete(task);
    this.#probed.delete(task);
  }

  *[Symbol.iterator](): Iterator<Task> {
    yield* this.#fresh;
    yield* this.#probed;
  }
}
