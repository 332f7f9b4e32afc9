/**
 * Probes addresses that another host may hold, repeatedly, until no host answers. The rate of all probes together is
 * limited. lib/arp/probe-schedule.ts decides when and in which order.
 */
import type { Mac } from "../../../lib/arp/packet.ts";
import { type ProbeGroup, ProbeSchedule } from "../../../lib/arp/probe-schedule.ts";
import type { AddressOnLink, Announcer, ProbePurpose, ProbeResult } from "../../kernel/drivers.ts";

export interface ProbeTask {
  readonly place: AddressOnLink;
  readonly purpose: ProbePurpose;
  /**
   * Called with the MAC of the other holder, or `undefined` if there was no reply. Not called if the probe could not be
   * sent.
   */
  readonly onAnswer: (mac: Mac | undefined) => void;
}

export interface ProbeQueueOptions {
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
/** Batches whose answers are awaited. Each batch needs its own socket. */
const maxBatchesAwaited = 8;

export class ProbeQueue {
  readonly #options: ProbeQueueOptions;
  readonly #schedule = new ProbeSchedule<ProbeTask>();
  readonly #abort = new AbortController();
  readonly #running = new Set<Promise<void>>();
  /** Callers that wait for the answer to a probe that has not been sent yet. */
  #waiters = new Map<ProbeTask, PromiseWithResolvers<void>>();
  #timer: NodeJS.Timeout | undefined;
  #isStarted = false;
  #batchAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ProbeQueueOptions) {
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
    for (const task of [...this.#waiters.keys()]) this.#release(task);
    await Promise.all(this.#running);
  }

  /** There is a reason to probe soon. Probing continues until the task is paused or cancelled. */
  schedule(task: ProbeTask, group: ProbeGroup): void {
    this.#schedule.schedule(task, group, this.#options.nowMs());
    this.#arm();
  }

  /** Like {@link schedule}, for a task that was probed just now: waits for the pause. */
  reschedule(task: ProbeTask, group: ProbeGroup): void {
    const { nowMs, random } = this.#options;
    this.#schedule.reschedule(task, group, nowMs(), random());
    this.#arm();
  }

  /**
   * Probes these before all others. Resolves when each was probed after the call, was cancelled, or this object
   * stopped.
   */
  async scheduleNow(tasks: readonly ProbeTask[]): Promise<void> {
    if (this.#abort.signal.aborted) return;
    const answers = tasks.map((task) => {
      this.#schedule.scheduleNow(task, this.#options.nowMs());
      const waiter = this.#waiters.get(task) ?? Promise.withResolvers<void>();
      this.#waiters.set(task, waiter);
      return waiter.promise;
    });
    this.#arm();
    await Promise.all(answers);
  }

  pause(task: ProbeTask): void {
    this.#schedule.pause(task);
    this.#release(task);
  }

  cancel(task: ProbeTask): void {
    this.#schedule.cancel(task);
    this.#release(task);
  }

  /** Probes what is due, within the rate limit. */
  sendDue(): void {
    const nowMs = this.#options.nowMs();
    if (this.#abort.signal.aborted) return;
    if (nowMs - this.#batchAtMs < batchPauseMs || this.#running.size >= maxBatchesAwaited) return;
    const batch = this.#schedule.take(nowMs, batchSize);
    if (batch.length === 0) return;
    this.#batchAtMs = nowMs;
    for (const purpose of ["take", "keep"] as const) {
      const tasks = batch.filter((task) => task.purpose === purpose);
      if (tasks.length === 0) continue;
      const run = this.#probe(tasks, purpose).finally(() => {
        this.#running.delete(run);
        this.#arm();
      });
      this.#running.add(run);
    }
  }

  async #probe(tasks: readonly ProbeTask[], purpose: ProbePurpose): Promise<void> {
    const { announcer, nowMs, random, onFailure } = this.#options;
    const waiters = tasks.flatMap((task) => {
      const waiter = this.#waiters.get(task);
      this.#waiters.delete(task);
      return waiter ?? [];
    });
    let result: ProbeResult | undefined;
    try {
      const places = tasks.map(({ place }) => place);
      result = await announcer.probe(places, purpose, this.#abort.signal);
    } catch (error) {
      if (!this.#abort.signal.aborted) onFailure(error);
    }
    for (const task of tasks) {
      const { address } = task.place;
      const isAwaited = this.#schedule.onResult(task, nowMs(), random());
      if (!isAwaited || result === undefined || result.unsent.has(address)) continue;
      task.onAnswer(result.others.get(address));
    }
    for (const { resolve } of waiters) resolve();
  }

  #release(task: ProbeTask): void {
    this.#waiters.get(task)?.resolve();
    this.#waiters.delete(task);
  }

  /** While anything has to be probed, checks ten times a second. So a new task never waits longer. */
  #arm(): void {
    if (!this.#isStarted || this.#timer !== undefined) return;
    const dueInMs = this.#schedule.dueInMs(this.#options.nowMs());
    if (dueInMs === undefined) return;
    const readyInMs = this.#batchAtMs + batchPauseMs - this.#options.nowMs();
    const delayMs = Math.max(readyInMs, Math.min(dueInMs, batchPauseMs), 0);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.sendDue();
      this.#arm();
    }, delayMs);
  }
}
