/**
 * When the wire is asked again about a contested address, and which questions go first while more are due than may be sent.
 *
 * Nobody announces that he lets an address go, so the holder is asked again and again: every second at first, later less often,
 * since the pause is a share of the time that the conflict has lasted. Nothing that strangers send makes a pause longer.
 *
 * Each lane has its share of every batch, so that no flood of claims delays a takeover. Within a lane the address that was not
 * asked about for the longest time goes first, so that no address delays another. What a caller of the API asks for goes before
 * all lanes.
 */

/** Addresses to be taken that another holds; held ones that another holds too; held ones that another claims. */
const lanes = ["wanted", "conflict", "claim"] as const;
export type Lane = (typeof lanes)[number];

/** Between two questions about one address, unless a caller of the API asks for one. */
const minPauseMs = 1_000;
const maxPauseMs = 300_000;
/** After two minutes the pause begins to grow. */
const pauseShare = 1 / 120;
/** The pause grows by chance, up to this share of it: two gateways whose probes met once do not meet again and again. */
const jitterShare = 0.25;

const never = Number.POSITIVE_INFINITY;
const notYet = Number.NEGATIVE_INFINITY;

interface Times {
  readonly lane: Lane;
  /** From when the pauses count. */
  sinceMs: number;
  askedAtMs: number;
  /** {@link never} where there is nothing to ask, or an answer is awaited. */
  dueAtMs: number;
  isAwaited: boolean;
}

/** Times are milliseconds of a monotonic clock that the caller reads. A question is known by its identity. */
export class QuestionSchedule<Question> {
  readonly #times = new Map<Question, Times>();
  readonly #queues = {
    wanted: new Queue<Question>(),
    conflict: new Queue<Question>(),
    claim: new Queue<Question>(),
  } as const satisfies Record<Lane, Queue<Question>>;
  readonly #urgent = new Set<Question>();

  /** There is a reason to ask now, or as soon as the shortest pause is over. Takes the question into the lane. */
  ask(question: Question, lane: Lane, nowMs: number): void {
    const known = this.#times.get(question);
    const times = known?.lane === lane ? known : this.#move(question, lane, known, nowMs);
    const isAtRest = times.dueAtMs === never && !times.isAwaited;
    if (isAtRest) times.sinceMs = nowMs;
    times.dueAtMs = Math.min(times.dueAtMs, Math.max(nowMs, times.askedAtMs + minPauseMs));
  }

  /** It was asked just now, and is to be asked again. */
  askAgain(question: Question, lane: Lane, nowMs: number, chance: number): void {
    this.forget(question);
    const times = this.#move(question, lane, undefined, nowMs);
    times.askedAtMs = nowMs;
    times.dueAtMs = nextAt(times, nowMs, chance);
    this.#queues[lane].add(question, true);
  }

  /** A caller of the API asks for the answer: before all others, and again every second from now on. */
  hurry(question: Question, nowMs: number): void {
    const times = this.#times.get(question);
    if (times === undefined) return;
    times.sinceMs = nowMs;
    times.dueAtMs = nowMs;
    this.#urgent.add(question);
  }

  /** Nothing is to be asked for now; when it was asked last is remembered. */
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

  /** The questions to ask now, `max` of them at most. */
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
    // What one lane does not need is the others'.
    for (const lane of lanes) takeFrom(this.#queues[lane], max);
    for (const question of taken) this.#onTaken(question);
    return taken;
  }

  /**
   * It was answered, nobody answered in time, or it could not be asked.
   *
   * @param chance from 0 to 1
   * @returns false where nobody awaits the answer any more
   */
  answered(question: Question, nowMs: number, chance: number): boolean {
    const times = this.#times.get(question);
    if (times === undefined || !times.isAwaited) return false;
    times.isAwaited = false;
    // Meanwhile there came a reason to ask again.
    if (times.dueAtMs !== never) return true;
    times.dueAtMs = nextAt(times, nowMs, chance);
    return true;
  }

  /** Milliseconds until a question is due; `undefined` where there is nothing to ask. */
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

  /** @returns false where it is not due */
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

/** Questions in the order in which they were asked last; those that never were come first. */
class Queue<Question> {
  readonly #fresh = new Set<Question>();
  readonly #asked = new Set<Question>();

  /** Adds it, or moves it to the end. */
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
