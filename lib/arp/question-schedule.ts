/**
 * When to probe again for a contested address, and which probes go first if more are due than may be sent.
 *
 * No host announces that it gives up an address. So the agent keeps probing: every second at first, later less often,
 * because the pause is a share of the time that the conflict has lasted. Packets of other hosts never make a pause
 * longer.
 *
 * Each lane has a share of every batch, so a flood of claims does not delay a takeover. Within a lane the address with
 * the oldest probe goes first, so no address delays another. Probes requested through the API go before all lanes.
 */

/**
 * `wanted`: addresses to add that another host holds. `conflict`: held addresses that another host holds too. `claim`:
 * held addresses that another host claims.
 */
const lanes = ["wanted", "conflict", "claim"] as const;
export type Lane = (typeof lanes)[number];

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
  readonly lane: Lane;
  /** The time from which pauses are computed. */
  sinceMs: number;
  askedAtMs: number;
  /** {@link never} if nothing is to be asked, or while an answer is awaited. */
  dueAtMs: number;
  isAwaited: boolean;
}

/** Times are milliseconds of a monotonic clock that the caller reads. A question is identified by object identity. */
export class QuestionSchedule<Question> {
  readonly #times = new Map<Question, Times>();
  readonly #queues = {
    wanted: new Queue<Question>(),
    conflict: new Queue<Question>(),
    claim: new Queue<Question>(),
  } as const satisfies Record<Lane, Queue<Question>>;
  readonly #urgent = new Set<Question>();

  /** There is a reason to ask now, or as soon as the shortest pause is over. Puts the question into the lane. */
  ask(question: Question, lane: Lane, nowMs: number): void {
    const known = this.#times.get(question);
    const times = known?.lane === lane ? known : this.#move(question, lane, known, nowMs);
    const isAtRest = times.dueAtMs === never && !times.isAwaited;
    if (isAtRest) times.sinceMs = nowMs;
    times.dueAtMs = Math.min(times.dueAtMs, Math.max(nowMs, times.askedAtMs + minPauseMs));
  }

  /** The question was asked just now and has to be asked again. */
  askAgain(question: Question, lane: Lane, nowMs: number, chance: number): void {
    this.forget(question);
    const times = this.#move(question, lane, undefined, nowMs);
    times.askedAtMs = nowMs;
    times.dueAtMs = nextAt(times, nowMs, chance);
    this.#queues[lane].add(question, true);
  }

  /** The API requests an answer: asks before all others, and every second from now on. */
  askNow(question: Question, nowMs: number): void {
    const times = this.#times.get(question);
    if (times === undefined) return;
    times.sinceMs = nowMs;
    times.dueAtMs = nowMs;
    this.#urgent.add(question);
  }

  /** Stops asking for now. Remembers when it was asked last. */
  rest(question: Question): void {
    const times = this.#times.get(question);
    if (times !== undefined) {
      times.dueAtMs = never;
      times.isAwaited = false;
    }
    this.#urgent.delete(question);
  }

  forget(question: Question): void {
    const times = this.#times.get(question);
    if (times !== undefined) this.#queues[times.lane].delete(question);
    this.#times.delete(question);
    this.#urgent.delete(question);
  }

  /** The questions to ask now, at most `max`. */
  take(nowMs: number, max: number): readonly Question[] {
    const taken: Question[] = [];
    const takeFrom = (questions: Iterable<Question>, end: number) => {
      for (const question of questions) {
        if (taken.length >= end) return;
        if (this.#begin(question, nowMs)) taken.push(question);
      }
    };
    takeFrom(this.#urgent, max);
    const share = Math.ceil((max - taken.length) / lanes.length);
    for (const lane of lanes) takeFrom(this.#queues[lane], Math.min(taken.length + share, max));
    // Capacity that one lane does not use goes to the others.
    for (const lane of lanes) takeFrom(this.#queues[lane], max);
    for (const question of taken) this.#onTaken(question);
    return taken;
  }

  /**
   * It was answered, the answer timed out, or it could not be asked.
   *
   * @param chance from 0 to 1
   * @returns false if no answer is awaited any more
   */
  answered(question: Question, nowMs: number, chance: number): boolean {
    const times = this.#times.get(question);
    if (times === undefined || !times.isAwaited) return false;
    times.isAwaited = false;
    // In the meantime there was a new reason to ask.
    if (times.dueAtMs !== never) return true;
    times.dueAtMs = nextAt(times, nowMs, chance);
    return true;
  }

  /** Milliseconds until a question is due. `undefined` if there is none. */
  dueInMs(nowMs: number): number | undefined {
    let dueAtMs = never;
    for (const times of this.#times.values())
      if (!times.isAwaited && times.dueAtMs < dueAtMs) dueAtMs = times.dueAtMs;
    return dueAtMs === never ? undefined : Math.max(0, dueAtMs - nowMs);
  }

  #move(question: Question, lane: Lane, known: Times | undefined, nowMs: number): Times {
    const times = {
      askedAtMs: notYet,
      dueAtMs: never,
      isAwaited: false,
      ...known,
      lane,
      sinceMs: nowMs,
    };
    if (known !== undefined) this.#queues[known.lane].delete(question);
    this.#queues[lane].add(question, times.askedAtMs !== notYet);
    this.#times.set(question, times);
    return times;
  }

  /** @returns false if it is not due */
  #begin(question: Question, nowMs: number): boolean {
    const times = this.#times.get(question);
    if (times === undefined || times.isAwaited || times.dueAtMs > nowMs) return false;
    times.isAwaited = true;
    times.askedAtMs = nowMs;
    times.dueAtMs = never;
    return true;
  }

  #onTaken(question: Question): void {
    this.#urgent.delete(question);
    const times = this.#times.get(question);
    if (times !== undefined) this.#queues[times.lane].add(question, true);
  }
}

function nextAt({ sinceMs, askedAtMs }: Times, nowMs: number, chance: number): number {
  const pauseMs = Math.min(Math.max((nowMs - sinceMs) * pauseShare, minPauseMs), maxPauseMs);
  return askedAtMs + pauseMs * (1 + chance * jitterShare);
}

/** Questions in the order in which they were last asked. Those never asked come first. */
class Queue<Question> {
  readonly #fresh = new Set<Question>();
  readonly #asked = new Set<Question>();

  /** Adds the question, or moves it to the end. */
  add(question: Question, wasAsked: boolean): void {
    this.delete(question);
    (wasAsked ? this.#asked : this.#fresh).add(question);
  }

  delete(question: Question): void {
    this.#fresh.delete(question);
    this.#asked.delete(question);
  }

  *[Symbol.iterator](): Iterator<Question> {
    yield* this.#fresh;
    yield* this.#asked;
  }
}
