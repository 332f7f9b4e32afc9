/**
 * One full pass: observe, plan, apply, verify.
 *
 * INVARIANTS
 * - The ledger is written before the kernel is.
 * - Steps are applied in the order of lib/plan/phases.ts, which the kernel requires.
 * - What was written is read back. Only that reading makes objects Ready. The gate opens after it.
 * - A subsystem that cannot be read or written fails alone.
 */

import { setImmediate as nextTurn } from "node:timers/promises";
import { nextExpiryMs } from "../../../lib/admission/leases.ts";
import { memoizeLast, stabilize } from "../../../lib/memoize.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { ledgerKey } from "../../../lib/model/ledger.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Verdict } from "../../../lib/model/status.ts";
import { judge } from "../../../lib/plan/judge.ts";
import { heldIn } from "../../../lib/plan/network/bindings.ts";
import type { Plan, PlannedStep } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { State } from "../../../lib/state/state.ts";
import { ArpNotifier } from "../eips/arp-notifier.ts";
import { beginEpoch, strikeOff, writeAhead } from "../eips/ledger.ts";
import { type PassRequest, quietRequest } from "../pass-request.ts";
import { Drift, type DriftReview } from "../retry/drift.ts";
import { PassRetry } from "../retry/pass-retry.ts";
import { Quarantine } from "../retry/quarantine.ts";
import { keyOf } from "../retry/repair-throttle.ts";
import { asFailures, type PassFailure } from "../subsystem.ts";
import { type Applied, applySteps, joined } from "./apply-steps.ts";
import { Gatekeeper } from "./gatekeeper.ts";
import type { PassDeps, PassResult } from "./pass-result.ts";
import { Planner } from "./planner.ts";
import { SnapshotReader } from "./snapshot-reader.ts";
import { isSameVerification, verificationOf } from "./verification.ts";

export class Pass {
  readonly #deps: PassDeps;
  readonly #reader: SnapshotReader;
  readonly #gate = new Gatekeeper();
  readonly #quarantine: Quarantine;
  readonly #planner: Planner;
  readonly #notifier: ArpNotifier;
  readonly #drift = new Drift();
  readonly #retry = new PassRetry();
  readonly #stableVerification = stabilize(isSameVerification);
  readonly #judge = memoizeLast(judge);

  constructor(deps: PassDeps) {
    this.#deps = deps;
    const onLateEnd = () => deps.wake("late reading");
    this.#reader = new SnapshotReader(deps.subsystems, { patience: deps.patience, onLateEnd });
    this.#quarantine = new Quarantine(() => deps.clock.bootMs());
    this.#planner = new Planner(deps, deps.subsystems, this.#gate, this.#quarantine);
    this.#notifier = new ArpNotifier(deps);
  }

  /** The last reading. `undefined` before the first. */
  get lastSnapshot(): Snapshot | undefined {
    return this.#reader.last;
  }

  observe(signal: AbortSignal): Promise<Snapshot> {
    return this.#reader.read(quietRequest, signal);
  }

  /** What a pass over `state` and `snapshot` would do. For read-only requests: runs in parts and keeps nothing. */
  preview(state: State, snapshot: Snapshot): Promise<Plan> {
    return this.#planner.preview(state, snapshot);
  }

  isUnadopted(state: State, snapshot: Snapshot): boolean {
    return this.#planner.isUnadopted(state, snapshot);
  }

  /** The verdicts from a reading alone, if its pass did not finish. Nothing before adoption. */
  judge(state: State, snapshot: Snapshot): ReadonlyMap<ObjectId, Verdict> {
    if (this.isUnadopted(state, snapshot)) return new Map();
    const plan = this.#planner.planNow(state, snapshot);
    const throttled = this.#drift.throttled(this.#deps.clock.bootMs());
    return judge(state.desired, plan.compiled, verificationOf(plan, [], throttled));
  }

  async run(request: PassRequest, signal: AbortSignal): Promise<PassResult> {
    const { store, epoch, clock, subsystems } = this.#deps;
    const state = store.current;
    const before = await this.#reader.read(request, signal);
    if (this.isUnadopted(state, before)) return this.#leaveAlone(state, before);

    const ledgerFailures = [...(await ledgerStep(() => beginEpoch(store, epoch)))];
    this.#quarantine.releaseRewritten(state);
    const retried = this.#quarantine.due();
    this.#gate.begin(before, state);
    const planned = await this.#planWithProbe(state, before);
    const version = versionOf(state, planned.compiled.blocked);
    const review = this.#drift.review(version, planned.steps, clock.bootMs());
    // A full disk must not stop the repair of working NAT: report that the ledger could not be written.
    ledgerFailures.push(...(await ledgerStep(() => writeAhead(store, planned))));

    const isMoved = !this.#retry.isDone(version);
    const first = await this.#apply(review.due, state, planned, before, request, isMoved, signal);
    let after = await this.#readAgain(first, before, request, signal);
    let residual = await this.#planner.plan(state, after);
    const finish = await this.#finish(state, after, residual, request, signal);
    if (finish !== undefined) ({ after, residual } = finish);

    const applied = finish === undefined ? first : joined(first, finish.applied);
    this.#drift.conclude(version, review, applied.changes, residual.changes, clock.bootMs());
    const failures = [...ledgerFailures, ...applied.failures];
    const isDone = isDoneBy(residual);
    const found = { state, before, after, residual, applied, failures, version, review, retried, isDone };
    const result = await this.#conclude(found);
    for (const subsystem of subsystems) subsystem.concluded?.({ isDone });
    return result;
  }

  /** Records that an incremental pass did all work between two states. */
  follow(before: PassResult, after: PassResult): void {
    const version = versionOf(before.state, before.blocked);
    if (!this.#retry.isDone(version)) return;
    const next = versionOf(after.state, after.blocked);
    this.#retry.note(next, false);
    this.#drift.follow(version, next);
  }

  /** Milliseconds until something is due without a wake. */
  dueInMs(state: State, throttled: DriftReview["throttled"] = new Set()): number | undefined {
    const { clock } = this.#deps;
    const due = [
      this.#retry.dueInMs,
      this.#quarantine.dueInMs(),
      nextExpiryMs(state, clock.instant()),
      this.#drift.dueInMs(throttled, clock.bootMs()),
    ].filter((ms) => ms !== undefined);
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /** Plans with the results of ARP probes for addresses to add, and starts probes for new ones. */
  async #planWithProbe(state: State, snapshot: Snapshot): Promise<Plan> {
    const { arpProbe } = this.#deps;
    const { ledger } = this.#planner.withLedger(state);
    const unasked = { probing: new Set<Ip>(), addressConflicts: new Map<Ip, string>() };
    const optimistic = await this.#planner.plan(state, snapshot, unasked);
    // Addresses in the ledger were held in this epoch: one that another process removed comes back at once.
    const unknown = optimistic.addresses.add.filter(({ entry }) => !ledger.addresses.has(ledgerKey(entry)));
    // Likewise for addresses held here with another prefix length or binding: no other host has them.
    const { network } = snapshot.facts;
    const held = new Set(unknown.length === 0 ? [] : heldIn(network).map(({ address }) => address));
    const newcomers = unknown.filter(({ object, entry }) => object !== undefined && !held.has(entry.address));
    const { probing, addressConflicts } = arpProbe.review(newcomers.map(({ entry }) => entry));
    return probing.size + addressConflicts.size === 0 ? optimistic : this.#planner.plan(state, snapshot);
  }

  async #apply(
    steps: readonly PlannedStep[],
    state: State,
    plan: Plan,
    snapshot: Snapshot,
    request: PassRequest,
    isMoved: boolean,
    signal: AbortSignal,
  ): Promise<Applied> {
    const replan = async (name: PlannedStep["subsystem"], without: ReadonlySet<ObjectId>) => {
      const again = await this.#reader.read(request, signal, snapshot, new Set([name]));
      const error = again.unread.get(name);
      if (error !== undefined) throw error;
      const quarantined = new Map(this.#quarantine.objects);
      for (const id of without) quarantined.set(id, "");
      const { gate, isVerified } = plan.context;
      const { steps: next } = await this.#planner.plan(state, again, { quarantined, gate, isVerified });
      return next.filter((step) => step.subsystem === name);
    };
    const unread = new Set(snapshot.unread.keys());
    const options = { context: { state, plan }, replan, unread, isMoved, patience: this.#deps.patience };
    const applied = await applySteps(steps, this.#deps.subsystems, options, signal);
    for (const { isCulprit, object, message } of applied.failures)
      if (isCulprit && object !== undefined) this.#quarantine.record(state, object, message);
    return applied;
  }

  /** Reads everything again after a change. After a look that wrote nothing, reads only the subsystems that looked. */
  async #readAgain(
    { changes, failures, touched }: Applied,
    before: Snapshot,
    request: PassRequest,
    signal: AbortSignal,
  ): Promise<Snapshot> {
    if (changes.length + failures.length > 0) return this.#reader.read(request, signal);
    return touched.size === 0 ? before : this.#reader.read(request, signal, before, touched);
  }

  /** Steps that wait until everything else is verified: opening the gate, removing another dataplane. */
  async #finish(
    state: State,
    snapshot: Snapshot,
    residual: Plan,
    request: PassRequest,
    signal: AbortSignal,
  ): Promise<{ readonly after: Snapshot; readonly residual: Plan; readonly applied: Applied } | undefined> {
    if (!this.#gate.isClosed && !snapshot.facts.isPreviousPresent) return undefined;
    if (!this.#gate.isWhole(state, snapshot, residual)) return undefined;
    const plan = await this.#planner.plan(state, snapshot, { gate: "open", isVerified: true });
    const steps = plan.steps.filter(({ phase }) => phase === "opening" || phase === "cleanup");
    const applied = await this.#apply(steps, state, plan, snapshot, request, false, signal);
    if (!applied.failures.some(({ stage }) => stage === "gate")) this.#gate.opened();
    const after = await this.#reader.read(request, signal);
    return { after, residual: await this.#planner.plan(state, after), applied };
  }

  async #conclude(found: {
    readonly state: State;
    readonly before: Snapshot;
    readonly after: Snapshot;
    readonly residual: Plan;
    readonly applied: Applied;
    readonly failures: PassFailure[];
    readonly version: string;
    readonly review: DriftReview;
    readonly retried: ReadonlySet<ObjectId>;
    readonly isDone: boolean;
  }): Promise<PassResult> {
    const { state, before, after, residual, applied, failures, review, isDone } = found;
    const { store, clock, flows } = this.#deps;
    const sweep = flows.sweepInHand;
    const throttled = this.#drift.throttled(clock.bootMs());
    const verification = this.#stableVerification(verificationOf(residual, failures, throttled));
    await nextTurn();
    const verdicts = this.#judge(state.desired, residual.compiled, verification);
    this.#quarantine.conclude(found.retried, (id) => verdicts.get(id)?.programmed.holds === true);
    await nextTurn();
    const isSwept = isDone && sweep?.shadowed === 0;
    failures.push(...(await ledgerStep(() => strikeOff(store, residual, isSwept))));
    const isClean = isDone && !applied.isSilentlyUndone && !failures.some(({ stage }) => stage === "ledger");
    this.#notifier.tell(residual.program, before.facts.network, after.facts.network);
    await nextTurn();
    // Throttled repairs have their own time: no retry before that.
    const isWaiting =
      failures.length === 0 && residual.changes.every((change) => review.throttled.has(keyOf(change)));
    this.#retry.note(found.version, !isClean && !isWaiting);
    const done = new Set(review.repairs.length === 0 ? [] : applied.changes.map(keyOf));
    return {
      state,
      snapshot: after,
      residual,
      blocked: residual.compiled.blocked,
      verdicts,
      changes: applied.changes,
      failures,
      gate: this.#gate.on(after),
      isClean,
      repairs: review.repairs.filter((repair) => done.has(keyOf(repair))),
      sweep,
      throttled,
      dueInMs: this.dueInMs(state, review.throttled),
    };
  }

  async #leaveAlone(state: State, snapshot: Snapshot): Promise<PassResult> {
    const residual = await this.#planner.plan(state, snapshot);
    return {
      state,
      snapshot,
      residual,
      blocked: residual.compiled.blocked,
      verdicts: undefined,
      changes: [],
      failures: [],
      sweep: undefined,
      gate: snapshot.facts.isGateClosed ? "closed" : "open",
      isClean: false,
      repairs: [],
      throttled: [],
      dueInMs: undefined,
    };
  }
}

function isDoneBy({ changes, parts }: Plan): boolean {
  return changes.length === 0 && !parts.values().some(({ isUnfinished }) => isUnfinished);
}

async function ledgerStep(write: () => Promise<void>): Promise<readonly PassFailure[]> {
  const failures = await asFailures(async () => {
    await write();
    return [];
  });
  return failures.map((failure) => ({ ...failure, stage: "ledger" }));
}

/** Identifies everything that decides the program. Two passes of one version want the same. */
function versionOf(state: State, blocked: PassResult["blocked"]): string {
  return `${state.desired.revision} ${[...blocked.keys()].sort().join()}`;
}
