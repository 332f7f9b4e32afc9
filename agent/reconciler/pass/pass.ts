/**
 * One full pass: observe, plan, apply, verify.
 *
 * INVARIANTS
 * - The ledger is written before the kernel is. If it cannot be written, no address is added that it lacks.
 * - Steps are applied in the order of lib/plan/phases.ts, which the kernel requires.
 * - What was written is read back. Only that reading makes objects Ready. The gates open after it.
 * - A subsystem that cannot be read or written fails alone.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { nextExpiryMs } from "../../../lib/admission/leases.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { ObjectVerdict } from "../../../lib/model/status.ts";
import { isSameGates } from "../../../lib/plan/gate-state.ts";
import { judgeChunked } from "../../../lib/plan/judge.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { State } from "../../../lib/state/state.ts";
import { runYielding } from "../../run-yielding.ts";
import { ArpNotifier } from "../eips/arp-notifier.ts";
import { beginEpoch, forgetRemoved, ledgerFailures, writeAhead } from "../eips/ledger.ts";
import { type PassRequest, quietRequest } from "../pass-request.ts";
import type { Left } from "../retry/drift.ts";
import { earliest, Retries, type Review } from "../retry/retries.ts";
import type { PassFailure } from "../subsystem.ts";
import { type Applied, joined } from "./apply-steps.ts";
import { type PassDeps, type PassResult, unadoptedResult } from "./pass-result.ts";
import { Planner } from "./planner.ts";
import { SnapshotReader } from "./snapshot-reader.ts";
import { StableJudge } from "./stable-judge.ts";
import { StepWriter } from "./step-writer.ts";
import { verificationOfChunked } from "./verification.ts";

/** What a pass has found and done before it is judged. */
interface Work {
  readonly state: State;
  readonly before: Snapshot;
  readonly after: Snapshot;
  /** The plan on `after`: what is left to do. */
  readonly planAfter: Plan;
  readonly applied: Applied;
  readonly review: Review;
}

export class Pass {
  readonly #deps: PassDeps;
  readonly #reader: SnapshotReader;
  readonly #retries: Retries;
  readonly #planner: Planner;
  readonly #writer: StepWriter;
  readonly #judge = new StableJudge();
  readonly #notifier: ArpNotifier;
  /**
   * True after a repair, which may have been wrong: if only a tool's output lacked the rule, it is there twice now. The
   * next resync reads everything anew.
   */
  #isDoubtful = false;

  constructor(deps: PassDeps) {
    const { subsystems, timeLimits, clock } = deps;
    this.#deps = deps;
    const onLateEnd = () => deps.wake("late reading");
    this.#reader = new SnapshotReader(subsystems, { timeLimits, onLateEnd });
    this.#retries = new Retries(() => clock.bootMs());
    const { quarantine } = this.#retries;
    this.#planner = new Planner(deps, subsystems, quarantine);
    const [reader, planner] = [this.#reader, this.#planner];
    this.#writer = new StepWriter({ subsystems, timeLimits, reader, planner, quarantine });
    this.#notifier = new ArpNotifier(deps);
  }

  /** The last reading. `undefined` before the first. */
  get lastSnapshot(): Snapshot | undefined {
    return this.#reader.last;
  }

  observe(signal: AbortSignal): Promise<Snapshot> {
    return this.#reader.read(quietRequest, signal);
  }

  /** The same, and trusts no earlier reading. */
  observeAnew(signal: AbortSignal): Promise<Snapshot> {
    this.#forgetReadings();
    return this.observe(signal);
  }

  /** What a pass over `state` and `snapshot` would do. For read-only requests: runs in parts and keeps nothing. */
  preview(state: State, snapshot: Snapshot): Promise<Plan> {
    return this.#planner.preview(state, snapshot);
  }

  isUnadopted(state: State, snapshot: Snapshot): boolean {
    return this.#planner.isUnadopted(state, snapshot);
  }

  /** The verdicts from a reading alone, if its pass did not finish. Nothing before adoption. */
  async judge(state: State, snapshot: Snapshot): Promise<ReadonlyMap<ObjectId, ObjectVerdict>> {
    if (this.isUnadopted(state, snapshot)) return new Map();
    const plan = await this.#planner.plan(state, snapshot);
    const verification = await runYielding(verificationOfChunked(plan, [], this.#retries.throttled));
    return runYielding(judgeChunked(state.desired, plan.compiled, verification));
  }

  async run(request: PassRequest, signal: AbortSignal): Promise<PassResult> {
    const { store, epoch, subsystems, gatekeeper, adoption } = this.#deps;
    let state = store.current;
    if (request.isResync && this.#isDoubtful) this.#forgetReadings();
    const before = await this.#reader.read(request, signal);
    if (adoption.awaitsRestart)
      return unadoptedResult(state, before, await this.#planner.plan(state, before));
    const isUnadopted = this.isUnadopted(state, before);
    if (isUnadopted || (!state.isSet && before.facts.wasSet)) {
      const plan = await this.#planner.plan(state, before);
      const adopted = await adoption.atStart(before, plan, signal);
      // If the accepted set had no objects, nothing is lost without adoption.
      if (adopted === undefined && (isUnadopted || adoption.awaitsRestart))
        return unadoptedResult(state, before, plan);
      state = adopted ?? state;
    }
    adoption.onStarted();

    const failures = [...(await ledgerFailures(() => beginEpoch(store, epoch)))];
    this.#retries.onPassStart(state, request);
    gatekeeper.onPassStart(before, state);
    const plan = await this.#planner.planWithProbes(state, before);
    const input = { state, blocked: plan.compiled.blocked };
    const review = await runYielding(this.#retries.review(input, plan.steps, request));
    // A full disk must not stop the repair of working NAT: the pass goes on without what only the ledger would know.
    failures.push(...(await ledgerFailures(() => writeAhead(store, plan))));
    const isLedgerWritten = failures.length === 0;

    const { due: steps, hasOpenWork } = review;
    const planned = { state, snapshot: before, plan, steps, hasOpenWork, isLedgerWritten };
    const applied = await this.#writer.write(planned, request, signal);
    const after = await this.#reader.readAfter(applied, before, request, signal);
    const planAfter = await this.#planner.plan(state, after);
    const written = { state, before, after, planAfter, applied, review };
    const work = await this.#openAndCleanUp(written, request, signal);

    const result = await this.#judgeAndAnnounce(work, [...failures, ...work.applied.failures]);
    this.#isDoubtful ||= result.repairs.length > 0;
    const isDone = isDoneBy(work.planAfter);
    for (const subsystem of subsystems) subsystem.onPassEnd?.({ isDone });
    return result;
  }

  /** Records that an incremental pass did all work between two states. */
  recordIncrementalPass(before: PassResult, after: PassResult): void {
    this.#retries.recordIncrementalPass(before, after);
    this.#reader.replace(after.snapshot);
  }

  /** Announces the EIPs that an incremental pass added. */
  async announceNew(
    { snapshot: before }: PassResult,
    { snapshot: after, planAfter }: PassResult,
  ): Promise<void> {
    await this.#notifier.announceNew(planAfter.program, before.facts.network, after.facts.network);
  }

  /** Milliseconds until something is due without a wake, after a pass with this plan. */
  dueInMs(
    state: State,
    { context: { expiredLeases } }: Pick<Plan, "context">,
    throttled: Review["throttled"] = new Set(),
  ): number | undefined {
    const { clock, gatekeeper } = this.#deps;
    return earliest([
      this.#retries.dueInMs(throttled),
      nextExpiryMs(state, clock.instant(), expiredLeases),
      gatekeeper.dueInMs(state),
    ]);
  }

  #forgetReadings(): void {
    this.#isDoubtful = false;
    for (const subsystem of this.#deps.subsystems) subsystem.forget?.();
  }

  /** Steps that wait until everything else is verified: opening the gates, removing another dataplane. */
  async #openAndCleanUp(work: Work, request: PassRequest, signal: AbortSignal): Promise<Work> {
    const { state, after: snapshot, planAfter } = work;
    const { gatekeeper } = this.#deps;
    if (!gatekeeper.verify(state, snapshot, planAfter)) return work;
    const gates = gatekeeper.gatesAfterVerifying(state, snapshot, planAfter);
    if (isSameGates(gates, gatekeeper.gatesFor(snapshot)) && !snapshot.facts.isPreviousPresent) return work;
    const plan = await this.#planner.plan(state, snapshot, { ...gates, isCleanupAllowed: true });
    const opening = plan.steps.filter(({ phase }) => phase === "opening");
    const review = await runYielding(this.#retries.reviewMore(work.review, cleanupOf(plan), request));
    const steps = [...opening, ...review.due];
    const planned = { state, snapshot, plan, steps, hasOpenWork: false, isLedgerWritten: true };
    const applied = await this.#writer.write(planned, request, signal);
    const opened = new Set(opening.map(({ subsystem }) => subsystem));
    if (!applied.failures.some(({ stage }) => stage !== "ledger" && opened.has(stage)))
      gatekeeper.onOpened(gates);
    const after = await this.#reader.read(request, signal);
    return {
      ...work,
      after,
      planAfter: await this.#planner.plan(state, after),
      applied: joined(work.applied, applied),
      review,
    };
  }

  /** What is left to do, what other dataplanes left included. */
  async #leftBy({ state, after, planAfter }: Work): Promise<Left> {
    const unread = new Set(after.unread.keys());
    if (!after.facts.isPreviousPresent) return { changes: planAfter.changes, unread };
    const plan = await this.#planner.plan(state, after, { isCleanupAllowed: true });
    return { changes: plan.changes, unread };
  }

  /** Judges, removes from the ledger what is gone, announces EIPs. */
  async #judgeAndAnnounce(work: Work, failures: readonly PassFailure[]): Promise<PassResult> {
    const { state, before, after, planAfter, applied, review } = work;
    const { store, flows, gatekeeper } = this.#deps;
    const { currentSweep: sweep } = flows;
    const left = await this.#leftBy(work);
    const repairs = await runYielding(this.#retries.onWritten(review, applied.changes, left));
    const { throttled } = this.#retries;
    const verdicts = await this.#judge.judge(state, planAfter, failures, throttled);
    this.#retries.onJudged((id) => verdicts.get(id)?.programmed.holds === true);
    await nextTurn();
    const isDone = isDoneBy(planAfter);
    const isSwept = isDone && sweep?.shadowed === 0;
    const all = [...failures, ...(await ledgerFailures(() => forgetRemoved(store, planAfter, isSwept)))];
    await this.#notifier.announceNew(planAfter.program, before.facts.network, after.facts.network);
    await nextTurn();
    const hasHiddenFailure =
      applied.hasFailedStepWithoutChange || all.some(({ stage }) => stage === "ledger");
    const isClean = isDone && !hasHiddenFailure;
    this.#retries.onPassEnd(review, { failures: all, planAfter, isClean });
    return {
      state,
      snapshot: after,
      planAfter,
      blocked: planAfter.compiled.blocked,
      verdicts,
      changes: applied.changes,
      failures: all,
      ...gatekeeper.gatesFor(after),
      hasVerifiedRules: gatekeeper.hasVerifiedRules,
      isClean,
      isCleared: isClearedBy(planAfter) && !hasHiddenFailure,
      repairs,
      sweep,
      throttled,
      dueInMs: this.dueInMs(state, planAfter, review.throttled),
    };
  }
}

function cleanupOf({ steps }: Plan): Plan["steps"] {
  return steps.filter(({ phase }) => phase === "cleanup");
}

function isDoneBy(plan: Plan): boolean {
  return plan.changes.length === 0 && isReadBy(plan);
}

/** Replacing counts as removing: what is replaced may belong to an object that is gone. */
function isClearedBy(plan: Plan): boolean {
  return plan.changes.every(({ action }) => action === "add" || action === "set") && isReadBy(plan);
}

function isReadBy({ parts }: Plan): boolean {
  return !parts.values().some(({ isUnfinished }) => isUnfinished);
}
