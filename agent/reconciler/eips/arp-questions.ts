/**
 * Probes contested addresses repeatedly, until nobody holds them. The rate is limited in total, however many there are.
 * lib/arp/question-schedule.ts decides when and in which order.
 */
import type { Mac } from "../../../lib/arp/packet.ts";
import { type Lane, QuestionSchedule } from "../../../lib/arp/question-schedule.ts";
import type { AddressOnLink, Announcer, ProbePurpose, ProbeResult } from "../../kernel/drivers.ts";

export interface ArpQuestion {
  readonly place: AddressOnLink;
  readonly purpose: ProbePurpose;
  /**
   * Called with the MAC of the other holder, or `undefined` if there was no reply. Not called if the probe could not be
   * sent.
   */
  readonly onAnswer: (mac: Mac | undefined) => void;
}

export interface ArpQuestionsOptions {
  readonly announcer: Pick<Announcer, "probe">;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  /** A random number from 0 to 1. */
  readonly random: () => number;
  readonly onFailure: (error: unknown) => void;
}

/** At most 500 probes per second, each with one frame, or two if there is no reply. */
const batchSize = 50;
const batchPauseMs = 100;
/** Each one needs its own socket. */
const maxBatchesAwaited = 8;

export class ArpQuestions {
  readonly #options: ArpQuestionsOptions;
  readonly #schedule = new QuestionSchedule<ArpQuestion>();
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();
  /** Callers that wait for the answer to a probe that has not been sent yet. */
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

  /** There is a reason to probe soon. Probing continues until the question rests or is forgotten. */
  ask(question: ArpQuestion, lane: Lane): void {
    this.#schedule.ask(question, lane, this.#options.nowMs());
    this.#arm();
  }

  /** Like {@link ask}, for a question that was probed just now: waits for the pause. */
  askAgain(question: ArpQuestion, lane: Lane): void {
    const { nowMs, random } = this.#options;
    this.#schedule.askAgain(question, lane, nowMs(), random());
    this.#arm();
  }

  /**
   * Probes these before all others. Resolves when each was probed after the call, was forgotten, or this object
   * stopped.
   */
  async askNow(questions: readonly ArpQuestion[]): Promise<void> {
    if (this.#abort.signal.aborted) return;
    const answers = questions.map((question) => {
      this.#schedule.askNow(question, this.#options.nowMs());
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

  /** Probes what is due, within the rate limit. */
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

  /** While anything has to be probed, checks ten times a second. So a new question never waits longer. */
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
