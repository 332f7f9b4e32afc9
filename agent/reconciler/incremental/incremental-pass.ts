/**
 * The shortcut for a few objects: a pass over what was written, if the kernel proves that nothing else changed. Its
 * cost grows little with the size of the set (ADR 5), unless there are flows to end. It uses the planners and the judge
 * of a full pass, on the part of the set that the change can affect. In every unusual case it gives way to a full pass.
 */

import { expiredLeases } from "../../../lib/admission/leases.ts";
import { AffectedSet, restrictTo } from "../../../lib/compile/affected.ts";
import { compile, compileChunked } from "../../../lib/compile/compile.ts";
import { endsAt, endsRuledBy, type FlowEnd, hasEndOf } from "../../../lib/conntrack/ends.ts";
import { viewOf } from "../../../lib/conntrack/flow.ts";
import { compileContradictsChunked } from "../../../lib/conntrack/permits.ts";
import { isSameSet } from "../../../lib/memoize.ts";
import type { Change } from "../../../lib/model/change.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Program, ProgramEip } from "../../../lib/model/program.ts";
import type { ObjectVerdict } from "../../../lib/model/status.ts";
import type { GuardPart } from "../../../lib/plan/guard-users.ts";
import { judge, type Verification } from "../../../lib/plan/judge.ts";
import { eipsAdded } from "../../../lib/plan/network/added-eips.ts";
import type { RulesPlan } from "../../../lib/plan/rules-planner.ts";
import { noObstacles } from "../../../lib/plan/subsystem.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { State, StateChange } from "../../../lib/state/state.ts";
import type { Clock } from "../../clock.ts";
import type { ConntrackDriver, Dataplane } from "../../kernel/drivers.ts";
import { runYielding } from "../../run-yielding.ts";
import type { Gatekeeper } from "../pass/gatekeeper.ts";
import type { PassResult } from "../pass/pass-result.ts";
import type { PassRequest } from "../pass-request.ts";
import type { Subsystem } from "../subsystem.ts";
import type { SweepResult } from "../subsystems/flow-sweep.ts";
import type { UncheckedObjects } from "../subsystems/unchecked-objects.ts";
import type { TimeLimits } from "../time-limits.ts";
import { EipAdditions, type EipAdditionsDeps, type WithEips } from "./eip-additions.ts";
import { GuardUsersOfPass } from "./guard-users-of-pass.ts";
import { type Reason, whyFull } from "./why-full.ts";
import { WrittenObjects } from "./written-objects.ts";

export interface IncrementalDeps extends EipAdditionsDeps {
  readonly dataplane: Dataplane;
  readonly conntrack: ConntrackDriver;
  readonly clock: Clock;
  readonly timeLimits: TimeLimits;
  /** Shared with the full passes. */
  readonly unchecked: UncheckedObjects;
  readonly gatekeeper: Pick<Gatekeeper, "mayOpen">;
  /** Called when an incremental pass gives way to a full one. */
  readonly onFullPass?: (reason: Reason) => void;
}

export interface IncrementalResult {
  readonly changes: readonly Change[];
  readonly sweep: SweepResult;
  /** Verdicts for `affected`. */
  readonly verdicts: ReadonlyMap<ObjectId, ObjectVerdict>;
  /** All objects that are kept out of the program now. */
  readonly blocked: PassResult["blocked"];
  /** The objects that the change can affect. */
  readonly affected: ReadonlySet<ObjectId>;
  /** The last pass's with the added Eips, or unchanged. */
  readonly planAfter: PassResult["planAfter"];
  readonly snapshot: PassResult["snapshot"];
}

/** For more objects a full pass costs about as much. */
export const maxObjects = 256;
/** Longer than {@link maxObjects} take on a busy machine. */
const timeLimitMs = 10_000;
/** For more flows on these objects too. */
const maxFlows = 20_000;

export class IncrementalPass {
  readonly #deps: IncrementalDeps;
  readonly #written = new WrittenObjects(maxObjects);
  readonly #guardUsers = new GuardUsersOfPass();
  readonly #additions: EipAdditions;
  #affected: { readonly of: Desired; readonly index: AffectedSet } | undefined;

  constructor(deps: IncrementalDeps) {
    this.#deps = deps;
    this.#additions = new EipAdditions(deps);
  }

  /** Call it after every change of the state, as soon as the store has the new state. */
  note(changes: readonly StateChange[]): void {
    this.#written.note(changes);
  }

  /** A full pass begins: it covers everything that was written. */
  onFullPassStart(): void {
    this.#written.drain();
  }

  /**
   * @param base the result of the last pass
   * @returns `undefined` if a full pass is needed
   */
  async run(
    request: PassRequest,
    state: State,
    base: PassResult | undefined,
    signal: AbortSignal,
  ): Promise<IncrementalResult | undefined> {
    const ids = this.#written.drain();
    const reason = whyFull(request, base, ids);
    const result =
      reason !== undefined || base === undefined || ids === undefined
        ? (reason ?? "nothing is known")
        : await this.#runWithLimit(ids, state, base, signal);
    if (typeof result !== "string") return result;
    this.#written.restore(ids);
    this.#deps.onFullPass?.(result);
    return undefined;
  }

  /** If the pass hangs, gives way to a full pass, which reports it and repairs everything else. */
  #runWithLimit(ids: ReadonlySet<ObjectId>, state: State, base: PassResult, signal: AbortSignal) {
    const run = (within: AbortSignal) => this.#run(ids, state, base, within);
    const { timeLimits } = this.#deps;
    return timeLimits.run<IncrementalResult | Reason>(
      "an incremental pass",
      run,
      timeLimitMs,
      signal,
      ({ message }) => message,
    );
  }

  async #run(
    ids: ReadonlySet<ObjectId>,
    state: State,
    base: PassResult,
    signal: AbortSignal,
  ): Promise<IncrementalResult | Reason> {
    const { dataplane, clock, unchecked, subsystems } = this.#deps;
    const { incremental } = dataplane.driver;
    if (incremental === undefined) return "the dataplane has no incremental passes";
    if (this.#deps.gatekeeper.mayOpen(state)) return "a gate may open";
    const context = base.planAfter.compileContext;
    if (!isSameSet(expiredLeases(state, clock.instant()), context.expiredLeases))
      return "a lease expired or was renewed";
    const before = base.state.desired;
    const affected = await this.#affectedBy(before, state.desired, ids);
    if (affected === undefined) return "the change can affect too many objects, or some of other kinds";
    const from = compile(restrictTo(before, affected), context).program;
    const part = restrictTo(state.desired, affected);
    const compiled = compile(part, context);
    const to = compiled.program;
    const added = eipsAdded(from, to);
    if (added === undefined) return "an Eip of these objects goes, moves or is not held";
    const others = to.eips.filter((eip) => !added.includes(eip));
    if (base.verdicts === undefined || !others.every(({ id }) => base.verdicts?.get(id)?.ready.holds))
      return "an Eip of these objects is not Ready";

    const guard = await runYielding(this.#guardUsers.update(base, state.desired, { from, to }));
    const begun = await this.#beginAdding(added, state, base, guard, signal);
    if (typeof begun === "string") return begun;
    const observed = await incremental.base(signal);
    if (observed === undefined) return "the kernel does not prove that the last reading is current";
    const { planner } = dataplane;
    await this.#prepare(from, to, observed);
    const plan = planner.planPart(from, to, observed, guard.difference);
    if (plan === undefined) return "the change needs a plan of the whole";
    unchecked.add(plan.changes, part, compiled, "left to a full pass");
    if (!(await this.#write(plan, signal))) return "the write was refused or lost a race";
    const [after, grown] = await allEnded([incremental.verify(signal), this.#bind(added, begun, signal)]);
    if (after === undefined) return "the write was not read back as planned";
    if (grown === undefined) return "an address was refused, or the network changed otherwise";
    await this.#prepare(from, to, after);
    if (planner.planPart(from, to, after, guard.difference)?.changes.length !== 0)
      return "the write was not read back as planned";

    const ends = [...endsRuledBy([from, to]), ...added.flatMap(({ address }) => endsAt(address))];
    const sweep = await this.#sweepFlows(ends, state, grown, signal);
    if (sweep === undefined) return "the flows of these objects could not be ended";
    const blocked = new Map([...base.blocked].filter(([id]) => !affected.has(id)));
    for (const [id, block] of compiled.blocked) blocked.set(id, block);
    unchecked.clear({ revision: state.desired.revision, blocked });
    const { planAfter, snapshot } = grown;
    this.#guardUsers.onPlan(planAfter);
    const verdicts = judge(part, compiled, obstaclesTo(to, subsystems, grown));
    const changes = [...plan.changes, ...grown.changes];
    return { changes, sweep, verdicts, blocked, affected, planAfter, snapshot };
  }

  /** What comes before the rules of added Eips. */
  async #beginAdding(
    added: readonly ProgramEip[],
    state: State,
    base: PassResult,
    guard: GuardPart,
    signal: AbortSignal,
  ): Promise<WithEips | Reason> {
    const { planAfter, snapshot } = base;
    if (added.length === 0) return { planAfter, snapshot, changes: [] };
    const reason = this.#additions.whyFull(added, base, state, guard);
    if (reason !== undefined) return reason;
    if (!(await this.#additions.writeAhead(added))) return "the ledger could not be written";
    return (await this.#additions.begin(added, state, base, signal)) ?? "what follows an Eip was refused";
  }

  async #bind(
    added: readonly ProgramEip[],
    begun: WithEips,
    signal: AbortSignal,
  ): Promise<WithEips | undefined> {
    return added.length === 0 ? begun : this.#additions.bind(added, begun, signal);
  }

  async #prepare(from: Program, to: Program, observed: unknown): Promise<void> {
    const { preparePart } = this.#deps.dataplane.planner;
    if (preparePart !== undefined) await runYielding(preparePart(from, to, observed));
  }

  /**
   * @returns false if the kernel changed or refused: a full pass tries again, finds the rejected object and reports it
   */
  async #write({ changes, payload }: RulesPlan<unknown>, signal: AbortSignal): Promise<boolean> {
    if (changes.length === 0) return true;
    try {
      return (await this.#deps.dataplane.driver.write(payload, signal)).kind === "done";
    } catch (error) {
      if (error instanceof GatewayError) return false;
      throw error;
    }
  }

  /**
   * Ends the flows that contradict the new set. Only flows with one of `ends` can contradict it now. Whether they do
   * depends on the whole program, which is compiled only if there are any.
   *
   * @returns `undefined` if a full pass has to do it, which then reports what failed
   */
  async #sweepFlows(
    ends: readonly FlowEnd[],
    { desired, ledger }: State,
    { planAfter, snapshot }: Pick<PassResult, "planAfter" | "snapshot">,
    signal: AbortSignal,
  ): Promise<SweepResult | undefined> {
    const { conntrack } = this.#deps;
    const { family } = planAfter.compileContext;
    try {
      const { flows, total } = await conntrack.find(hasEndOf(ends, family), maxFlows, signal, ends);
      if (total > flows.length) return undefined;
      if (total === 0) return { removed: 0, remaining: [], shadowed: 0 };
      const { program } = await runYielding(compileChunked(desired, planAfter.compileContext));
      const { network } = snapshot.facts;
      const permits = { program, retired: ledger.retired, network };
      const contradicts = await runYielding(compileContradictsChunked(permits));
      const contradicting = flows.filter((flow) => contradicts(viewOf(flow, family)));
      const { removed } = await conntrack.remove(contradicting, signal);
      return { removed, remaining: [], shadowed: 0 };
    } catch (error) {
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
  }

  async #affectedBy(
    before: Desired,
    after: Desired,
    ids: ReadonlySet<ObjectId>,
  ): Promise<ReadonlySet<ObjectId> | undefined> {
    const known = this.#affected;
    const index = known?.of === before ? known.index : await runYielding(AffectedSet.of(before));
    index.update(before, after, ids);
    this.#affected = { of: after, index };
    return index.hasOtherUsers(ids) ? undefined : index.around(ids, [before, after], maxObjects);
  }
}

/** The results of two effects, when both have ended. */
async function allEnded<A, B>([one, other]: readonly [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return [await one, await other];
}

/** The obstacles from the last reading for the objects of `part` and for whole kinds. */
function obstaclesTo(
  part: Program,
  subsystems: readonly Pick<Subsystem, "planner">[],
  { planAfter, snapshot }: Pick<PassResult, "planAfter" | "snapshot">,
): Verification {
  return subsystems.map(({ planner }) => ({
    objects:
      planner.obstaclesTo?.(part, snapshot.observed.get(planner.name), snapshot.facts).objects ??
      noObstacles.objects,
    kinds: planAfter.parts.get(planner.name)?.obstacles().kinds ?? noObstacles.kinds,
  }));
}
