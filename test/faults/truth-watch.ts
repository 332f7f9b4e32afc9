/**
 * Continuously compares what the agent reports with what the kernel holds.
 *
 * Both cannot be read at the same instant. So the kernel is read repeatedly beside the polls, and each poll is judged
 * by the readings before and after it: Ready is wrong if both contradict it. There is one exception: if the object was
 * being removed between the poll and the later reading, it may have been added after the earlier one.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ObjectReply } from "../support/api-client.ts";
import type { Gateway } from "../support/gateway.ts";
import { until } from "../support/run.ts";
import { holdsEip, holdsFip, type KernelReading, readKernel } from "./kernel-reading.ts";

const pollPauseMs = 10;
/**
 * One of this many polls requests all objects, the others request a few: a list of hundreds takes the agent longer than
 * 10 ms.
 */
const pollsPerSurvey = 8;
const sampleSize = 2;

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

interface Timed<T> extends Span {
  readonly life: number;
  readonly value: T;
}

interface Poll extends Timed<readonly ObjectReply[]> {
  /** True if the poll requested all objects of a kind. */
  readonly isSurvey: boolean;
}

interface ListReply {
  readonly items: readonly ObjectReply[];
}

/** Objects named `eip-1`, `fip-1` and so on. */
export interface WatchedObjects {
  readonly count: number;
  readonly addressOf: (eip: string) => string;
}

/** What was judged in one life of the agent. */
export interface LifeReport {
  polls: number;
  surveys: number;
  /** Objects that the agent reported as Ready. */
  claims: number;
  readonly epochs: Set<string>;
}

export class TruthWatch {
  readonly #gateway: Gateway;
  readonly #objects: WatchedObjects;
  readonly #lies: string[] = [];
  readonly #polls: Poll[] = [];
  readonly #removals = new Map<string, Span[]>();
  /** In the current life: the time since which each EIP is Ready. */
  readonly #readySince = new Map<string, string>();
  readonly #judged: LifeReport[] = [];
  #before: Timed<KernelReading>[] = [];
  #life = 0;
  #isRunning = false;
  #done: Promise<unknown> = Promise.resolve();

  constructor(gateway: Gateway, objects: WatchedObjects) {
    this.#gateway = gateway;
    this.#objects = objects;
  }

  start(): void {
    this.#isRunning = true;
    this.#done = Promise.all([this.#read(), this.#poll()]);
  }

  /** Call it when the agent, or its kernel, has ended: earlier and later readings are not related. */
  beginLife(): void {
    this.#life++;
    this.#readySince.clear();
  }

  /** Performs a write that removes `ids`. */
  async removing<T>(ids: readonly string[], write: () => Promise<T>): Promise<T> {
    const span = { fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY };
    for (const id of ids) this.#removals.set(id, [...(this.#removals.get(id) ?? []), span]);
    try {
      return await write();
    } finally {
      span.toMs = performance.now();
    }
  }

  /** Waits until every poll of the current life that began before the call was judged. */
  async settle(): Promise<void> {
    const goal = this.#of(this.#life).surveys + 3;
    await until("polls to be judged", () => !this.#isRunning || this.#of(this.#life).surveys >= goal, 30_000);
  }

  /** @returns every wrong Ready, and what was judged in each life */
  async stop(): Promise<{ readonly lies: readonly string[]; readonly lives: readonly LifeReport[] }> {
    this.#isRunning = false;
    await this.#done;
    return { lies: this.#lies, lives: this.#judged };
  }

  async #read(): Promise<void> {
    while (this.#isRunning) {
      const [life, fromMs] = [this.#life, performance.now()];
      try {
        const value = await readKernel(this.#gateway);
        this.#judge({ life, fromMs, toMs: performance.now(), value });
      } catch {
        // The namespace does not exist at this moment: nothing can be checked.
      }
      await delay(pollPauseMs);
    }
  }

  async #poll(): Promise<void> {
    for (let turn = 0; this.#isRunning; turn++) {
      const paths = turn % pollsPerSurvey === 0 ? ["eips", "fips"] : this.#sample();
      await Promise.all(paths.map((path) => this.#ask(path)));
      await delay(pollPauseMs);
    }
  }

  #sample(): readonly string[] {
    const drawn = Array.from(
      { length: sampleSize },
      () => Math.floor(Math.random() * this.#objects.count) + 1,
    );
    return drawn.flatMap((number) => [`eips/eip-${number}`, `fips/fip-${number}`]);
  }

  /** A list or one object. A missing object claims nothing. */
  async #ask(path: string): Promise<void> {
    const [life, fromMs] = [this.#life, performance.now()];
    const isSurvey = !path.includes("/");
    try {
      const reply = await this.#gateway.api.call<ListReply & ObjectReply>("GET", `/v1/${path}`);
      const toMs = performance.now();
      if (reply.status === 200) {
        const value = isSurvey ? reply.body.items : [reply.body];
        this.#polls.push({ life, fromMs, toMs, value, isSurvey });
      } else if (isSurvey || reply.status !== 404) this.#lies.push(`/v1/${path} answered ${reply.status}`);
    } catch {
      // There is no agent at this moment, so nothing is claimed.
    }
  }

  /** Judges the polls for which `after` is the first later reading. */
  #judge(after: Timed<KernelReading>): void {
    const waiting = this.#polls.splice(0);
    for (const poll of waiting) {
      if (poll.life > after.life || poll.toMs > after.fromMs) this.#polls.push(poll);
      else if (poll.life === after.life) {
        const before = this.#before.findLast(({ life, toMs }) => life === poll.life && toMs <= poll.fromMs);
        if (before !== undefined) this.#judgePoll(poll, before.value, after);
      }
    }
    this.#before = [...this.#before.slice(-50), after];
  }

  #judgePoll(
    { life, fromMs, value: objects, isSurvey }: Poll,
    before: KernelReading,
    after: Timed<KernelReading>,
  ): void {
    const judged = this.#of(life);
    judged.polls++;
    if (isSurvey) judged.surveys++;
    for (const object of objects) {
      judged.epochs.add(object.status.epoch);
      if (object.kind === "Eip" && life === this.#life) this.#judgeSteadiness(object);
      if (!object.status.ready) continue;
      judged.claims++;
      const id = `${object.kind.toLowerCase()}s/${object.name}`;
      const excuses = this.#removals.get(id) ?? [];
      if (this.#isHeld(object, before) || this.#isHeld(object, after.value)) continue;
      if (excuses.some((span) => span.fromMs < after.toMs && span.toMs > fromMs)) continue;
      this.#lies.push(
        `life ${life}: ${id} is reported Ready, but the kernel does not have it before or after`,
      );
    }
  }

  /** An EIP becomes Ready once per life and stays Ready. */
  #judgeSteadiness({ name, status }: ObjectReply): void {
    const since = status.conditions.find(({ type }) => type === "Ready")?.lastTransitionTime ?? "";
    const known = this.#readySince.get(name);
    if (known === undefined) {
      if (status.ready) this.#readySince.set(name, since);
    } else if (!status.ready || since !== known) {
      this.#lies.push(
        `life ${this.#life}: eips/${name} was Ready since ${known}, now ${status.ready} since ${since}`,
      );
    }
  }

  #isHeld({ kind, name, spec }: ObjectReply, kernel: KernelReading): boolean {
    if (kind === "Eip") return holdsEip(kernel, this.#objects.addressOf(name));
    return holdsFip(kernel, this.#objects.addressOf(String(spec.eip)), String(spec.internalIp));
  }

  #of(life: number): LifeReport {
    this.#judged[life] ??= { polls: 0, surveys: 0, claims: 0, epochs: new Set() };
    return this.#judged[life];
  }
}
