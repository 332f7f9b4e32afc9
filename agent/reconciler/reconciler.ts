/**
 * The reconciler: the loop, its passes, and the requests of other components. Keeps and publishes the result of the
 * last pass. Only the current pass writes to the kernel.
 */

import { eipAddressesOf } from "../../lib/compile/references.ts";
import { endsAt, hasEndOf } from "../../lib/conntrack/ends.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Snapshot } from "../../lib/plan/plan-input.ts";
import type { State, StateChange } from "../../lib/state/state.ts";
import type { AddressOnLink, ConntrackDriver, Dataplane, NetworkDriver } from "../kernel/drivers.ts";
import { Mutex } from "../mutex.ts";
import { runYielding } from "../run-yielding.ts";
import type { ArpConflicts } from "./eips/arp-conflicts.ts";
import type { ArpProbe } from "./eips/arp-probe.ts";
import { HeldEips } from "./eips/held-eips.ts";
import { IncrementalPass } from "./incremental/incremental-pass.ts";
import { type PassOutcome, ReconcileLoop } from "./loop.ts";
import { type DryRun, DryRuns } from "./operations/dry-run.ts";
import { type Released, release } from "./operations/release.ts";
import { Pass } from "./pass/pass.ts";
import type { PassDeps, PassResult } from "./pass/pass-result.ts";
import { type PassReport, reportOf } from "./pass/report.ts";
import type { PassRequest } from "./pass-request.ts";
import { Patience } from "./patience.ts";
import { createSubsystems, type SubsystemDeps } from "./subsystems/subsystems.ts";
import type { PublishedPass, VerdictSink } from "./verdict-sink.ts";

export interface ReconcilerDeps
  extends Omit<PassDeps, "subsystems" | "flows" | "patience" | "wake">,
    SubsystemDeps {
  readonly dataplane: Dataplane;
  readonly network: NetworkDriver;
  readonly conntrack: ConntrackDriver;
  readonly board: VerdictSink;
  readonly arpProbe: PassDeps["arpProbe"] & Pick<ArpProbe, "isContested" | "hurry">;
  readonly arpConflicts: PassDeps["arpConflicts"] & Pick<ArpConflicts, "hurry">;
  readonly resyncIntervalMs: number;
  /** Called after every pass that ran. */
  readonly onPass: (result: PassResult, report: PassReport) => void;
  /** Called for every pass that could not run. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
}

/** A pass that has begun is finished, so that no transaction is left half done. Every effect has a deadline. */
const neverAborted = new AbortController().signal;

/** For reading the ruleset's generation: takes no time unless a reading or a write hangs. */
const lookPatienceMs = 1_000;

export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #subsystems: ReturnType<typeof createSubsystems>["subsystems"];
  readonly #full: Pass;
  readonly #incremental: IncrementalPass;
  readonly #loop: ReconcileLoop;
  readonly #mutex = new Mutex();
  readonly #dryRuns: DryRuns;
  readonly #patience = new Patience();
  readonly #heldEips = new HeldEips();
  #result: PassResult | undefined;
  #report: PassReport | undefined;
  #failure: GatewayError | undefined;
  #hasVerified = false;
  /** Rules were written; by whom is not checked yet. */
  #isLookDue = false;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
    const { subsystems, flows } = createSubsystems(deps);
    this.#subsystems = subsystems;
    const patience = this.#patience;
    const wake = (reason: string) => this.wake(reason);
    this.#full = new Pass({ ...deps, subsystems, flows, patience, wake });
    this.#incremental = new IncrementalPass({ ...deps, subsystems, patience, unswept: flows.unswept });
    this.#dryRuns = new DryRuns(deps);
    this.#loop = new ReconcileLoop({
      pass: (request) => this.#mutex.run(() => this.#run(request)),
      resyncIntervalMs: deps.resyncIntervalMs,
      onFailure: (error, retryInMs) => {
        this.#failure = toGatewayError(error);
        deps.onFailure(error, retryInMs);
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    // A transaction in progress is finished, even if its pass no longer waits for it.
    await this.#patience.settled();
  }

  /** Call it after every change of the state, as soon as the state is in force. */
  note(changes: readonly StateChange[]): void {
    this.#incremental.note(changes);
  }

  /**
   * Rules were written, perhaps by the agent itself. Wakes a pass unless the kernel proves that it was the agent. This
   * cannot be decided while a pass is running.
   */
  async wakeUnlessOwn(reason: string): Promise<void> {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    const isOwn = await this.#mutex.run(() => this.#wroteAlone());
    if (!isOwn) this.#loop.wake(reason);
  }

  async #wroteAlone(): Promise<boolean> {
    this.#isLookDue = false;
    // Another process may have written while the last pass read back: the pass saw it and could not repair it.
    if (this.#result === undefined || this.#result.residual.changes.length > 0) return false;
    try {
      const proofs = this.#subsystems.map(async ({ isCurrent }) => (await isCurrent?.(neverAborted)) ?? true);
      const isProved = Promise.all(proofs).then((all) => !all.includes(false));
      return await this.#patience.wait(isProved, lookPatienceMs, () => false);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return false;
    }
  }

  wake(reason: string): void {
    this.#loop.wake(reason);
  }

  /** Events were lost: reads everything again. */
  wakeFull(reason: string): void {
    this.#loop.wakeFull(reason);
  }

  /**
   * Runs a full pass that begins after the call. Starts probes for contested addresses at once, but does not wait for
   * the replies.
   */
  reconcile(reason: string, signal: AbortSignal): Promise<PassReport> {
    void this.#askAgain(undefined);
    return this.#loop.run(reason, signal);
  }

  /**
   * These objects were written, changed or not: probes at once for their addresses that another host holds. Resolves
   * when free ones were added, after `timeoutMs`, or at the signal. Never rejects.
   *
   * @returns the rest of `timeoutMs`
   */
  async askAgain(ids: readonly ObjectId[], timeoutMs: number, signal: AbortSignal): Promise<number> {
    const { store, arpProbe, arpConflicts } = this.#deps;
    if (!arpProbe.isContested && arpConflicts.conflicts.size === 0) return timeoutMs;
    const isFreed = this.#askAgain(eipAddressesOf(store.current.desired, ids));
    if (timeoutMs === 0) return 0;
    const begunMs = performance.now();
    const end = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const ended = Promise.withResolvers<false>();
    end.addEventListener("abort", () => ended.resolve(false), { once: true });
    // The loop reports a failed pass, and the board answers waiting requests.
    if (await Promise.race([isFreed, ended.promise]))
      await this.#loop.run("probe", end).catch(() => undefined);
    return end.aborted ? 0 : Math.max(0, timeoutMs - (performance.now() - begunMs));
  }

  async #askAgain(addresses: ReadonlySet<Ip> | undefined): Promise<boolean> {
    const { arpProbe, arpConflicts } = this.#deps;
    const isFreed = await Promise.all([arpProbe.hurry(addresses), arpConflicts.hurry(addresses)]);
    return isFreed.includes(true);
  }

  /** The result of the last pass. `undefined` before the first. */
  get result(): PassResult | undefined {
    return this.#result;
  }

  /** True if the last reading found the address on that link, with either binding. */
  holds(place: AddressOnLink): boolean {
    return this.#heldEips.holds(place, this.network);
  }

  /** The EIPs that the last pass wanted and the last reading found. */
  get heldEips(): ReadonlyMap<Ip, AddressOnLink> {
    const { result, network } = this;
    if (result === undefined || network === undefined) return new Map();
    return this.#heldEips.eips(result.residual.program, network);
  }

  get lastReport(): PassReport | undefined {
    return this.#report;
  }

  /** Why passes cannot run now. `undefined` while they can. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /** True after a full pass of this process has verified. */
  get hasVerified(): boolean {
    return this.#hasVerified;
  }

  /** The last reading. `undefined` before the first. */
  get network(): ObservedNetwork | undefined {
    return this.#full.lastSnapshot?.facts.network;
  }

  get ownAddresses(): ReadonlySet<Ip> {
    return this.#result?.residual.own ?? new Set();
  }

  get isUnadopted(): boolean {
    return this.#result !== undefined && this.#result.verdicts === undefined;
  }

  preview(state: State, signal: AbortSignal): Promise<DryRun> {
    return this.#dryRuns.run(this.#full, state, signal);
  }

  connections(eip: Ip, limit: number, signal: AbortSignal): ReturnType<ConntrackDriver["find"]> {
    const { conntrack, config } = this.#deps;
    const ends = endsAt(eip);
    return conntrack.find(hasEndOf(ends, config.family), limit, signal, ends);
  }

  release(address: Ip, signal: AbortSignal): Promise<Released> {
    return this.#mutex.run(async () => {
      const released = await release(this.#deps, this.#full, address, signal);
      this.wakeFull("release");
      return released;
    });
  }

  async #run(request: PassRequest): Promise<PassOutcome> {
    const startedAtMs = this.#deps.clock.wallMs();
    const begunMs = performance.now();
    const result = (await this.#runIncremental(request)) ?? (await this.#runFull(request));
    this.#result = result;
    const took = (performance.now() - begunMs) / 1000;
    const report = reportOf(request, result, { startedAtMs, took });
    this.#report = report;
    this.#failure = undefined;
    this.#deps.onPass(result, report);
    return { report, dueInMs: result.dueInMs };
  }

  async #runIncremental(request: PassRequest): Promise<PassResult | undefined> {
    const { store, board } = this.#deps;
    const base = this.#result;
    const state = store.current;
    const found = await this.#incremental.run(request, state, base, neverAborted);
    if (found === undefined || base === undefined) return undefined;
    const { changes, sweep, blocked, verdicts, reached } = found;
    const dueInMs = this.#full.dueInMs(state);
    const result: PassResult = { ...base, state, blocked, changes, sweep, repairs: [], dueInMs };
    this.#full.follow(base, result);
    board.publishPart(this.#published(result, verdicts), reached);
    return result;
  }

  async #runFull(request: PassRequest): Promise<PassResult> {
    this.#incremental.giveWay();
    const { lastSnapshot } = this.#full;
    const result = await this.#full.run(request, neverAborted).catch((error: unknown) => {
      this.#withdraw(lastSnapshot);
      throw error;
    });
    // Other components may read the result as soon as it is published.
    this.#result = result;
    if (result.verdicts !== undefined) {
      await runYielding(this.#deps.board.publish(this.#published(result, result.verdicts)));
      this.#hasVerified ||= result.gate === "open";
    }
    return result;
  }

  /** A pass read the kernel and did not finish: objects that its reading lacks are no longer Ready. */
  #withdraw(before: Snapshot | undefined): void {
    const { store, board, clock } = this.#deps;
    const state = store.current;
    const { lastSnapshot } = this.#full;
    if (lastSnapshot === undefined || lastSnapshot === before) return;
    const verifiedAt = new Date(clock.wallMs()).toISOString();
    board.withdraw({ state, verdicts: this.#full.judge(state, lastSnapshot), verifiedAt });
  }

  #published({ state, isClean }: PassResult, verdicts: PublishedPass["verdicts"]): PublishedPass {
    return { state, verdicts, isClean, verifiedAt: new Date(this.#deps.clock.wallMs()).toISOString() };
  }
}

function toGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error;
  return new GatewayError("internal", error instanceof Error ? error.message : String(error), {
    cause: error,
  });
}
