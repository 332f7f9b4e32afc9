/**
 * The reconciler: the loop, its passes, and what others may ask of them. Keeps what the last pass found, publishes it, and
 * lets nobody but the pass in hand write to the kernel.
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
  /** Told after every pass that could be made. */
  readonly onPass: (result: PassResult, report: PassReport) => void;
  /** Told of every pass that could not be made. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
}

/** A pass that began is brought to its end: nobody wants half a transaction. Every effect has its deadline. */
const neverAborted = new AbortController().signal;

/** For a look at the ruleset's generation, which costs no time but where a reading or a write hangs. */
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
  /** Rules were written, by whom is yet to be looked at. */
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
    // A transaction in hand is finished, though its pass did not wait for it.
    await this.#patience.settled();
  }

  /** To be told of every change of the state, as soon as the state is in force. */
  note(changes: readonly StateChange[]): void {
    this.#incremental.note(changes);
  }

  /**
   * Somebody wrote rules, the agent perhaps: a pass looks at it, but where the kernel proves that it was the agent. That
   * cannot be told while a pass is at work.
   */
  async wakeUnlessOwn(reason: string): Promise<void> {
    if (this.#isLookDue) return;
    this.#isLookDue = true;
    const isOwn = await this.#mutex.run(() => this.#wroteAlone());
    if (!isOwn) this.#loop.wake(reason);
  }

  async #wroteAlone(): Promise<boolean> {
    this.#isLookDue = false;
    // Somebody may have written while the last pass read back: it saw what was done and could not undo it.
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

  /** After events were lost: everything is looked at again. */
  wakeFull(reason: string): void {
    this.#loop.wakeFull(reason);
  }

  /** A full pass, begun after the call. Contested addresses are asked about at once; it does not wait for the answers. */
  reconcile(reason: string, signal: AbortSignal): Promise<PassReport> {
    void this.#askAgain(undefined);
    return this.#loop.run(reason, signal);
  }

  /**
   * Somebody wrote these objects, changed or not: the wire is asked at once about addresses of theirs that another station holds.
   * Resolves once what is free now was taken, when the time is up, or at the signal. Never rejects.
   *
   * @returns what is left of `timeoutMs`
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
    // Of a pass that fails the loop tells, and the board answers whoever waits.
    if (await Promise.race([isFreed, ended.promise]))
      await this.#loop.run("probe", end).catch(() => undefined);
    return Math.max(0, timeoutMs - (performance.now() - begunMs));
  }

  async #askAgain(addresses: ReadonlySet<Ip> | undefined): Promise<boolean> {
    const { arpProbe, arpConflicts } = this.#deps;
    const isFreed = await Promise.all([arpProbe.hurry(addresses), arpConflicts.hurry(addresses)]);
    return isFreed.includes(true);
  }

  /** What the last pass found; `undefined` before the first. */
  get result(): PassResult | undefined {
    return this.#result;
  }

  /** True where the last reading found the address on that link, however it is bound. */
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

  /** Why no pass can be made at present; `undefined` while passes are made. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /** True once a full pass has verified in this life. */
  get hasVerified(): boolean {
    return this.#hasVerified;
  }

  /** As last read; `undefined` before the first reading. */
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
    // What is published may be asked about at once.
    this.#result = result;
    if (result.verdicts !== undefined) {
      await runYielding(this.#deps.board.publish(this.#published(result, result.verdicts)));
      this.#hasVerified ||= result.gate === "open";
    }
    return result;
  }

  /** A pass that read the kernel and came to no end: what it found missing is not Ready any more. */
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
