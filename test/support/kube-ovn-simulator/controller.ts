/** Makes the calls of a scenario as the controller does: queues in parallel, what fails is made again. */
import { setTimeout as delay } from "node:timers/promises";
import type { CallResult } from "../in-namespace.ts";
import type { Call, Item, Queue, Random, Scenario } from "./scenario.ts";

/** The gateway does not do what the contract says. */
export class Violation extends Error {}

/** After a failure the controller waits for 1, 2, 4 … 20 s. */
const requeueMs = 120;
/** Nothing takes as many attempts. */
const mostAttempts = 60;

export interface Caller {
  call(args: readonly string[], killAfterMs?: number): Promise<CallResult>;
  /** True if a failure of now has a reason: no `init` yet, no agent. */
  isExcused(): boolean;
  /** After each success. */
  succeeded(args: readonly string[]): Promise<void>;
}

export class Controller {
  readonly #scenario: Scenario;
  readonly #caller: Caller;
  readonly #lock: Lock | undefined;
  #isInitialized = false;
  #isAbandoned = false;

  constructor(scenario: Scenario, caller: Caller, random: Random) {
    this.#scenario = scenario;
    this.#caller = caller;
    this.#lock = scenario.isLocked ? new Lock(random) : undefined;
  }

  get isInitialized(): boolean {
    return this.#isInitialized;
  }

  /** Ends when every call has succeeded, or after {@link abandon}. */
  async run(): Promise<void> {
    const { init, queues } = this.#scenario;
    const [first, ...others] = queues;
    const begin = async () => {
      await delay(init.delayMs);
      await this.#repeat(init.call);
      this.#isInitialized = true;
      if (first !== undefined) await this.#work(first);
    };
    await Promise.all([begin(), ...others.map((queue) => this.#work(queue))]);
  }

  /** Makes no further call. */
  abandon(): void {
    this.#isAbandoned = true;
  }

  /** A failed item goes behind the others of its queue. */
  async #work({ delayMs, items }: Queue): Promise<void> {
    await delay(delayMs);
    const waiting: { readonly item: Item; position: number; attempts: number }[] = items.map((item) => ({
      item,
      position: 0,
      attempts: 0,
    }));
    for (let one = waiting.shift(); one !== undefined && !this.#isAbandoned; one = waiting.shift()) {
      for (let call = one.item[one.position]; call !== undefined; call = one.item[one.position]) {
        if (!(await this.#attempt(call, one.attempts))) break;
        one.position++;
        one.attempts = 0;
      }
      if (one.position === one.item.length) continue;
      one.attempts++;
      if (waiting.length === 0 || one.attempts > 3) await delay(requeueMs);
      waiting.push(one);
    }
  }

  async #repeat(call: Call): Promise<void> {
    for (let attempts = 0; !this.#isAbandoned && !(await this.#attempt(call, attempts)); attempts++)
      await delay(requeueMs);
  }

  async #attempt(call: Call, attempts: number): Promise<boolean> {
    const { args, isAfterVersion = false, isDoubled = false } = call;
    if (isAfterVersion) {
      const { stdout, stderr, exitCode } = await this.#caller.call(["get-iptables-version"]);
      if (exitCode !== 0 || stderr !== "" || !/v[0-9]+(\.[0-9]+)+/.test(stdout)) {
        if (this.#isAbandoned || this.#caller.isExcused()) return false;
        throw new Violation(`get-iptables-version: ${exitCode} ${stdout} ${stderr}`);
      }
    }
    const killAfterMs = attempts === 0 ? call.killAfterMs : undefined;
    const made = await Promise.all(
      Array.from({ length: isDoubled ? 2 : 1 }, async () => {
        const wasExcused = this.#caller.isExcused();
        const locked = this.#lock === undefined || isDoubled ? undefined : await this.#lock.take();
        if (this.#isAbandoned) return locked?.();
        const result = await this.#caller.call(args, killAfterMs).finally(() => locked?.());
        return { ...result, isExcused: wasExcused || this.#caller.isExcused() };
      }),
    );
    for (const result of made) {
      if (result === undefined) return false;
      const { exitCode, stdout, stderr, isExcused } = result;
      if (exitCode === 0 && stderr === "") continue;
      const hasReason = isExcused || this.#isAbandoned || killAfterMs !== undefined;
      if (!hasReason || attempts > mostAttempts)
        throw new Violation(`${args.join(" ")}: ${exitCode} ${stdout} ${stderr}`);
      return false;
    }
    if (!this.#isAbandoned) await this.#caller.succeeded(args);
    return !this.#isAbandoned;
  }
}

/** Whoever waits gets it in random order. */
class Lock {
  readonly #random: Random;
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  constructor(random: Random) {
    this.#random = random;
  }

  /** @returns what gives it back */
  async take(): Promise<() => void> {
    if (this.#isTaken) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#isTaken = true;
    return () => {
      const [next] = this.#waiting.splice(Math.floor(this.#random() * this.#waiting.length), 1);
      if (next === undefined) this.#isTaken = false;
      else next();
    };
  }
}
