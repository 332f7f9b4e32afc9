/**
 * Asks the wire about contested addresses, again and again, until somebody is told that nobody holds them. Spread over time and
 * bounded in sum, however many there are: when and in which order is decided in lib/arp/question-schedule.ts.
 */
import type { Mac } from "../../../lib/arp/packet.ts";
import { type Lane, QuestionSchedule } from "../../../lib/arp/question-schedule.ts";
import type { AddressOnLink, Announcer, ProbePurpose, ProbeResult } from "../../kernel/drivers.ts";

export interface ArpQuestion {
  readonly place: AddressOnLink;
  readonly purpose: ProbePurpose;
  /** Told the MAC of the other holder, or `undefined` where nobody answered. Not called where it could not be asked. */
  readonly onAnswer: (mac: Mac | undefined) => void;
}

export interface ArpQuestionsOptions {
  readonly announcer: Pick<Announcer, "probe">;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly onFailure: (error: unknown) => void;
}

/** At most 500 questions a second, each of one frame, or of two where nobody answers. */
const batchSize = 50;
const batchPauseMs = 100;
/** Each has a socket of its own. */
const maxBatchesAwaited = 8;

export class ArpQuestions {
  readonly #options: ArpQuestionsOptions;
  readonly #schedule = new QuestionSchedule<ArpQuestion>();
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();
  /** Those who wait for the answer to a question that was not asked yet. */
  #waiters = new Map<ArpQuestion, PromiseWithResolvers<void>>();
  #timer: NodeJS.Timeout | undefined;
  #isStarted = false;
  #batchAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ArpQuestionsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#isStarted = true;
    this.#arm();
  }

  async stop(): Promise<void> {
    this.#isStarted = false;
    clearTimeout(this.#timer);
    this.#abort.abort();
    for (const question of [...this.#waiters.keys()]) this.#release(question);
    await Promise.all(this.#running);
  }

  /** There is a reason to ask soon. A question is asked until it rests or is forgotten. */
  ask(question: ArpQuestion, lane: Lane): void {
    this.#schedule.ask(question, lane, this.#options.nowMs());
    this.#arm();
  }

  /** The same where it was asked just now: after a pause. */
  askAgain(question: ArpQuestion, lane: Lane): void {
    const { nowMs, random } = this.#options;
    this.#schedule.askAgain(question, lane, nowMs(), random());
    this.#arm();
  }

  /** Asks these before all others. Resolves once each was asked after the call, forgotten, or this stopped. */
  async hurry(questions: readonly ArpQuestion[]): Promise<void> {
    if (this.#abort.signal.aborted) return;
    const answers = questions.map((question) => {
      this.#schedule.hurry(question, this.#options.nowMs());
      const waiter = this.#waiters.get(question) ?? Promise.withResolvers<void>();
      this.#waiters.set(question, waiter);
      return waiter.promise;
    });
    this.#arm();
    await Promise.all(answers);
  }

  rest(question: ArpQuestion): void {
    this.#schedule.rest(question);
    this.#release(question);
  }

  forget(question: ArpQuestion): void {
    this.#schedule.forget(question);
    this.#release(question);
  }

  /** Asks what is due, as far as the rate allows. */
  look(): void {
    const nowMs = this.#options.nowMs();
    if (this.#abort.signal.aborted) return;
    if (nowMs - this.#batchAtMs < batchPauseMs || this.#running.size >= maxBatchesAwaited) return;
    const batch = this.#schedule.take(nowMs, batchSize);
    if (batch.length === 0) return;
    this.#batchAtMs = nowMs;
    for (const purpose of ["take", "keep"] as const) {
      const questions = batch.filter((question) => question.purpose === purpose);
      if (questions.length === 0) continue;
      const run = this.#probe(questions, purpose).finally(() => {
        this.#running.delete(run);
        this.#arm();
      });
      this.#running.add(run);
    }
  }

  async #probe(questions: readonly ArpQuestion[], purpose: ProbePurpose): Promise<void> {
    const { announcer, nowMs, random, onFailure } = this.#options;
    const waiters = questions.flatMap((question) => {
      const waiter = this.#waiters.get(question);
      this.#waiters.delete(question);
      return waiter ?? [];
    });
    let result: ProbeResult | undefined;
    try {
      const places = questions.map(({ place }) => place);
      result = await announcer.probe(places, purpose, this.#abort.signal);
    } catch (error) {
      if (!this.#abort.signal.aborted) onFailure(error);
    }
    for (const question of questions) {
      const { address } = question.place;
      const isAwaited = this.#schedule.answered(question, nowMs(), random());
      if (!isAwaited || result === undefined || result.unasked.has(address)) continue;
      question.onAnswer(result.others.get(address));
    }
    for (const { resolve } of waiters) resolve();
  }

  #release(question: ArpQuestion): void {
    this.#waiters.get(question)?.resolve();
    this.#waiters.delete(question);
  }

  /** While anything is to be asked it is looked at ten times a second: what comes in between is asked no later. */
  #arm(): void {
    if (!this.#isStarted || this.#timer !== undefined) return;
    const dueInMs = this.#schedule.dueInMs(this.#options.nowMs());
    if (dueInMs === undefined) return;
    const readyInMs = this.#batchAtMs + batchPauseMs - this.#options.nowMs();
    const delayMs = Math.max(readyInMs, Math.min(dueInMs, batchPauseMs), 0);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.look();
      this.#arm();
    }, delayMs);
  }
}
