/** Live flows: when they are swept, and what is known about them in between. */

import type { Chunked } from "../../../lib/chunked.ts";
import type { FlowPredicate } from "../../../lib/conntrack/flow.ts";
import { isSameSetChunked, memoizeBrieflyChunked, stabilizeChunked } from "../../../lib/memoize.ts";
import { GatewayError, undefinedIfUnreadable } from "../../../lib/model/errors.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import {
  contradictsChunked,
  type FlowSweepStep,
  type FlowsObserved,
  flowPlanner,
} from "../../../lib/plan/flows.ts";
import type { Step } from "../../../lib/plan/subsystem.ts";
import type { Clock } from "../../clock.ts";
import type { ConntrackDriver } from "../../kernel/drivers.ts";
import { runYielding } from "../../run-yielding.ts";
import type { PassRequest } from "../pass-request.ts";
import type { ApplyContext, PassEnd, StepFailure, Subsystem } from "../subsystem.ts";
import { FlowSweep, type SweepResult } from "./flow-sweep.ts";
import { UncheckedObjects } from "./unchecked-objects.ts";

/** Interval between sweeps that only the timer starts, in ms. */
const sweepIntervalMs = 300_000;
/** The share of entries in use that counts as all. */
const nearlyFull = 0.99;

export class FlowSubsystem implements Subsystem<FlowsObserved, FlowSweepStep> {
  readonly planner = flowPlanner;
  /** Shared with the incremental passes between full ones. */
  readonly unchecked = new UncheckedObjects();
  readonly #clock: Clock;
  readonly #conntrack: ConntrackDriver;
  readonly #sweep: FlowSweep;
  readonly #compile = memoizeBrieflyChunked(contradictsChunked);
  readonly #stableRetired = stabilizeChunked<ReadonlySet<Ip>>(isSameSetChunked);
  /** EIPs whose flows are to be ended, even if the ledger could not be written. */
  #leaving: ReadonlySet<Ip> = new Set();
  #sweptAtMs = 0;
  /** The last sweep found something: its dump of a busy table may have missed more. */
  #mayBeMore = false;
  #current: SweepResult | undefined;

  constructor(conntrack: ConntrackDriver, clock: Clock) {
    this.#conntrack = conntrack;
    this.#sweep = new FlowSweep(conntrack);
    this.#clock = clock;
  }

  /** The sweep of the current pass. `undefined` if there was none. */
  get currentSweep(): SweepResult | undefined {
    return this.#current;
  }

  /**
   * Without a change a sweep finds nothing, and reading a large table is expensive. So the timer starts one rarely, and
   * once more after a sweep that found something.
   */
  async observe(signal: AbortSignal, { isResync, reasons }: PassRequest): Promise<FlowsObserved> {
    const isTimerAlone = reasons.every((reason) => reason === "timer");
    const isLongAgo = this.#clock.bootMs() - this.#sweptAtMs >= sweepIntervalMs;
    const fullAt = await this.#fullAt(signal);
    return {
      ...(fullAt !== undefined && { fullAt }),
      isDue: isResync && this.#current === undefined && (!isTimerAlone || this.#mayBeMore || isLongAgo),
      remaining: this.#current?.remaining ?? [],
      shadowed: this.#current?.shadowed ?? 0,
      unchecked: this.unchecked.objects,
    };
  }

  /** What can be seen of the table is less important than its flows. */
  async #fullAt(signal: AbortSignal): Promise<number | undefined> {
    const stats = await this.#conntrack.readStats(signal).catch(undefinedIfUnreadable);
    const { count = 0, max = 0 } = stats ?? {};
    // The kernel takes a few more before it drops: entries that end make room for some.
    return max > 0 && count >= nearlyFull * max ? max : undefined;
  }

  async apply(
    steps: readonly Step<FlowSweepStep>[],
    { state: { desired }, plan: { compiled }, changes }: ApplyContext<FlowSweepStep>,
    signal: AbortSignal,
  ): Promise<readonly StepFailure[]> {
    for (const { payload } of steps) {
      this.#sweptAtMs = this.#clock.bootMs();
      this.#leaving = this.#leaving.union(payload.leaving);
      try {
        const contradicts = await runYielding(this.#contradicts(payload));
        this.#current = await this.#sweep.sweep(contradicts, payload.program, signal);
      } catch (error) {
        if (error instanceof GatewayError) this.unchecked.add(changes, desired, compiled, error.message);
        throw error;
      }
      this.#mayBeMore = this.#current.removed > 0;
      this.unchecked.clear({ revision: desired.revision, blocked: compiled.blocked });
    }
    return [];
  }

  *#contradicts({ program, network, removed, retired }: FlowSweepStep): Chunked<FlowPredicate> {
    const former = yield* this.#stableRetired(retired.union(this.#leaving));
    return yield* this.#compile(program, network, removed, former);
  }

  onPassEnd({ isDone }: PassEnd): void {
    if (isDone && this.#current?.shadowed === 0) this.#leaving = new Set();
    this.#current = undefined;
  }
}
