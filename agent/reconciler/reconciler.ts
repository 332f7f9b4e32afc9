/**
 * The reconciler: the loop with its passes, and the requests of other components. Only one pass or request writes to the
 * kernel at a time.
 */

import type { IfMatch } from "../../lib/admission/writes.ts";
import type { Explanation, Question } from "../../lib/explain/explanation.ts";
import { memoizeLast } from "../../lib/memoize.ts";
import type { GatewayError } from "../../lib/model/errors.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { ObservedNetwork } from "../../lib/model/observed.ts";
import type { Plan } from "../../lib/plan/plan.ts";
import type { State, StateChange } from "../../lib/state/state.ts";
import type {
  AddressOnLink,
  ConntrackDriver,
  ImportableDataplane,
  NetworkDriver,
} from "../kernel/drivers.ts";
import { Mutex } from "../mutex.ts";
import { Adoption, type AdoptionDeps } from "./adoption.ts";
import { HeldEips } from "./eips/held-eips.ts";
import { RequestedProbes, type RequestedProbesDeps } from "./eips/requested-probes.ts";
import { IncrementalPass } from "./incremental/incremental-pass.ts";
import { type PassOutcome, ReconcileLoop } from "./loop.ts";
import { connections } from "./operations/connections.ts";
import { type DryRun, DryRuns } from "./operations/dry-run.ts";
import { Explanations, type ReasonOf } from "./operations/explain.ts";
import { importLive } from "./operations/import-live.ts";
import { orphansOf } from "./operations/orphans.ts";
import { type Released, type ReleaseRequest, release } from "./operations/release.ts";
import { areWritesOwn, hasWrittenNetwork, isNetworkAsRead } from "./own-writes.ts";
import { commonRulesFault } from "./pass/common-rules-fault.ts";
import { Gatekeeper } from "./pass/gatekeeper.ts";
import { Pass } from "./pass/pass.ts";
import type { PassDeps, PassResult } from "./pass/pass-result.ts";
import type { PassReport } from "./pass/report.ts";
import type { PassRequest } from "./pass-request.ts";
import { PassRunner } from "./pass-runner.ts";
import { createSubsystems, type SubsystemDeps } from "./subsystems/subsystems.ts";
import { TimeLimits } from "./time-limits.ts";
import type { VerdictSink } from "./verdict-sink.ts";

export interface ReconcilerDeps
  extends Omit<
      PassDeps,
      "subsystems" | "flows" | "timeLimits" | "gatekeeper" | "heldEips" | "adoption" | "wake"
    >,
    Pick<AdoptionDeps, "checkGateway" | "onAdopted">,
    SubsystemDeps {
  readonly dataplane: ImportableDataplane;
  readonly network: NetworkDriver;
  readonly conntrack: ConntrackDriver;
  readonly board: VerdictSink;
  readonly arpProbe: PassDeps["arpProbe"] & RequestedProbesDeps["arpProbe"];
  readonly arpConflicts: PassDeps["arpConflicts"] & RequestedProbesDeps["arpConflicts"];
  readonly resyncIntervalMs: number;
  /** True if an unset store takes over the live state that it finds at the start. Absent: false. */
  readonly isAdopting?: boolean;
  /** Called after every pass that ran. */
  readonly onPass: (result: PassResult, report: PassReport) => void;
  /** Called for every pass that could not run. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
  /** Called with the reason when a full pass runs instead of an incremental one. */
  readonly onFullPass?: (reason: string) => void;
}

const none: ReadonlySet<Ip> = new Set();

export class Reconciler {
  readonly #deps: ReconcilerDeps;
  readonly #subsystems: ReturnType<typeof createSubsystems>["subsystems"];
  readonly #full: Pass;
  readonly #incremental: IncrementalPass;
  /** Here a writer of single objects tells that more will follow. */
  readonly gate: Gatekeeper;
  readonly #runner: PassRunner;
  readonly #loop: ReconcileLoop;
  readonly #mutex = new Mutex();
  readonly #probes: RequestedProbes;
  readonly #dryRuns: DryRuns;
  readonly #explanations: Explanations;
  readonly #adoption: Adoption;
  readonly #timeLimits = new TimeLimits();
  readonly #heldEips = new HeldEips();
  readonly #orphans = memoizeLast(orphansOf);
  /** Rules were written; by whom is not checked yet. */
  #isCheckDue = false;
  /** Why a check of the network is due. */
  readonly #networkReasons = new Set<string>();
  /** The end of the last pass that wrote addresses or routes. */
  #networkWrittenMs = Number.NEGATIVE_INFINITY;

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
    const { subsystems, flows } = createSubsystems(deps);
    this.#subsystems = subsystems;
    const timeLimits = this.#timeLimits;
    const gatekeeper = new Gatekeeper(deps.config, deps.store.current, deps.clock);
    this.gate = gatekeeper;
    const adoption = new Adoption({ ...deps, gatekeeper, isAutomatic: deps.isAdopting ?? false });
    this.#adoption = adoption;
    const shared = { ...deps, subsystems, timeLimits, gatekeeper, heldEips: this.#heldEips, adoption };
    this.#full = new Pass({ ...shared, flows, wake: (reason) => this.wake(reason) });
    this.#incremental = new IncrementalPass({ ...shared, unchecked: flows.unchecked });
    this.#runner = new PassRunner({ ...deps, full: this.#full, incremental: this.#incremental });
    this.#dryRuns = new DryRuns(deps);
    this.#explanations = new Explanations(deps, this.#full);
    this.#loop = new ReconcileLoop({
      pass: (request) => this.#mutex.run(() => this.#run(request)),
      resyncIntervalMs: deps.resyncIntervalMs,
      onFailure: (error, retryInMs) => deps.onFailure(error, retryInMs),
    });
    const runPass = (reason: string, signal: AbortSignal) => this.#loop.run(reason, signal);
    const published = () => this.#runner.published?.planAfter.context;
    this.#probes = new RequestedProbes({ ...deps, published, runPass });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
    // A transaction in progress is finished, even if its pass no longer waits for it.
    await this.#timeLimits.settled();
  }

  /** Call it after every change of the state, as soon as the store has the new state. */
  note(changes: readonly StateChange[]): void {
    this.#incremental.note(changes);
    if (changes.some(({ type }) => type === "revision")) this.gate.onWrite();
  }

  /**
   * Rules were written, perhaps by the agent itself. Wakes a pass unless the kernel proves that it was the agent. This
   * cannot be decided while a pass is running.
   */
  async wakeUnlessOwn(reason: string): Promise<void> {
    if (this.#isCheckDue) return;
    this.#isCheckDue = true;
    const isOwn = await this.#mutex.run(() => {
      this.#isCheckDue = false;
      return areWritesOwn({ subsystems: this.#subsystems, timeLimits: this.#timeLimits }, this.result);
    });
    if (!isOwn) this.#loop.wake(reason);
  }

  /** Addresses or routes were written, perhaps by the agent itself. Wakes a pass unless they are what the last pass read back. */
  async wakeUnlessRead(reason: string): Promise<void> {
    this.#networkReasons.add(reason);
    if (this.#networkReasons.size > 1) return;
    const reasons = await this.#mutex.run(async () => {
      const due = [...this.#networkReasons];
      this.#networkReasons.clear();
      const { network, clock } = this.#deps;
      const agoMs = clock.bootMs() - this.#networkWrittenMs;
      const isOwn = await isNetworkAsRead({ network, timeLimits: this.#timeLimits }, this.result, agoMs);
      return isOwn ? [] : due;
    });
    for (const due of reasons) this.#loop.wake(due);
  }

  wake(reason: string): void {
    this.#loop.wake(reason);
  }

  /** Events were lost: reads everything again. */
  resync(reason: string): void {
    this.#loop.resync(reason);
  }

  /**
   * Runs a full pass that begins after the call, and does in it what waits for its next try. Starts probes for
   * addresses in conflict at once, but does not wait for the replies.
   */
  reconcile(reason: string, signal: AbortSignal): Promise<PassReport> {
    this.#probes.probeAll();
    return this.#loop.run(reason, signal, true);
  }

  /** These objects were written, changed or not: {@link RequestedProbes.probeFor}. */
  probeFor(ids: readonly ObjectId[], timeoutMs: number, signal: AbortSignal): Promise<number> {
    return this.#probes.probeFor(ids, timeoutMs, signal);
  }

  /** The result of the last pass. `undefined` before the first. */
  get result(): PassResult | undefined {
    return this.#runner.result;
  }

  /** True if the last reading found the address on that link, with either binding. */
  holds(place: AddressOnLink): boolean {
    return this.#heldEips.holds(place, this.network);
  }

  /** The EIPs that the last pass wanted and the last reading found. */
  get heldEips(): ReadonlyMap<Ip, AddressOnLink> {
    const { result, network } = this;
    if (result === undefined || network === undefined) return new Map();
    return this.#heldEips.eips(result.planAfter.program, network);
  }

  get lastReport(): PassReport | undefined {
    return this.#runner.report;
  }

  /** Why passes cannot run now. `undefined` while they can. */
  get failure(): GatewayError | undefined {
    return this.#runner.failure;
  }

  /** True after a full pass of this process has verified. */
  get isReady(): boolean {
    return this.#runner.isReady;
  }

  /** The last reading. `undefined` before the first. */
  get network(): ObservedNetwork | undefined {
    return this.#full.lastSnapshot?.facts.network;
  }

  get ownAddresses(): ReadonlySet<Ip> {
    return this.result?.planAfter.own ?? new Set();
  }

  /** Addresses that nothing explains. Before adoption all that are not the gateway's own: then nothing is removed. */
  get orphans(): ReadonlySet<Ip> {
    return this.result === undefined ? none : this.#orphans(this.result);
  }

  /** Resolved once a pass has found whether the live state is adopted. */
  get firstPass(): Promise<void> {
    return this.#runner.first;
  }

  /** Why the last pass left chains, guard or gates undone. `undefined`: it did not, or there was none. */
  get commonRulesFault(): string | undefined {
    return this.result && commonRulesFault(this.result);
  }

  get isUnadopted(): boolean {
    return this.result !== undefined && this.result.verdicts === undefined;
  }

  preview(state: State, signal: AbortSignal): Promise<DryRun> {
    return this.#dryRuns.run(this.#full, state, signal);
  }

  /** The same for the current state, after reading everything from the kernel anew. */
  audit(signal: AbortSignal): Promise<DryRun> {
    return this.#dryRuns.audit(this.#full, signal);
  }

  connections(eip: Ip, limit: number, signal: AbortSignal): ReturnType<ConntrackDriver["find"]> {
    return connections(this.#deps, eip, limit, signal);
  }

  /** What a pass would do now. Reads the kernel, writes nothing. */
  async inspect(signal: AbortSignal): Promise<Plan> {
    return this.#full.preview(this.#deps.store.current, await this.#full.observe(signal));
  }

  /** What becomes of a packet. Reads the kernel; requests at the same time share a reading. */
  explain(question: Question, reasonOf: ReasonOf, signal: AbortSignal): Promise<Explanation> {
    return this.#explanations.run(question, reasonOf, signal);
  }

  /** What became of the live state that the start found. */
  get adoption(): Pick<Adoption, "unread" | "refusal"> {
    return this.#adoption;
  }

  /** Reads the live state as a set, and takes it over if `isAdopted`. Writes nothing to the kernel. */
  async importLive(isAdopted: boolean, ifMatch: IfMatch | undefined, signal: AbortSignal) {
    const [pass, adoption] = [this.#full, this.#adoption];
    return this.#mutex.run(async () => {
      const imported = await importLive({ ...this.#deps, pass, adoption }, isAdopted, ifMatch, signal);
      if (isAdopted) this.wake("import");
      return imported;
    });
  }

  /** A pass first: it removes owned rules on the address, which are drift. */
  async release(request: ReleaseRequest, signal: AbortSignal): Promise<Released> {
    await this.#loop.run("release", signal, true);
    return this.#mutex.run(async () => {
      const released = await release(this.#deps, this.#full, request, signal);
      this.resync("release");
      return released;
    });
  }

  async #run(request: PassRequest): Promise<PassOutcome> {
    const outcome = await this.#runner.run(request);
    if (this.result && hasWrittenNetwork(this.result)) this.#networkWrittenMs = this.#deps.clock.bootMs();
    return outcome;
  }
}
