/**
 * A pass over the few objects that were written, where the kernel proves that nothing else has changed. Its price
 * does not grow with the set, unless it meets flows. It uses the planners and the judge of every other pass, on the part
 * of the set that the change can reach, and leaves everything that is not plain to a whole pass: `undefined` asks for one.
 */

import { AffectedSet, restrictTo } from "../../../lib/compile/affected.ts";
import { type Compiled, compile } from "../../../lib/compile/compile.ts";
import { endsRuledBy, type FlowEnd, hasEndOf } from "../../../lib/conntrack/ends.ts";
import { viewOf } from "../../../lib/conntrack/flow.ts";
import { compileContradicts } from "../../../lib/conntrack/permits.ts";
import type { Change } from "../../../lib/model/change.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import type { Verdict } from "../../../lib/model/status.ts";
import { judge } from "../../../lib/plan/judge.ts";
import type { Desired } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";
import type { RulePlan } from "../../kernel/drivers.ts";
import type { PassDeps, PassResult } from "../pass/pass-result.ts";
import type { SweepResult } from "../subsystems/flow-sweep.ts";
import type { UnsweptObjects } from "../subsystems/unswept-objects.ts";

export interface IncrementalResult {
  readonly changes: readonly Change[];
  readonly sweep: SweepResult;
  /** Of the objects that the change could reach. */
  readonly verdicts: ReadonlyMap<ObjectId, Verdict>;
  /** All that are kept out of the program now. */
  readonly blocked: Compiled["blocked"];
  readonly reached: ReadonlySet<ObjectId>;
}

/** Beyond that many objects a whole pass is hardly dearer. */
export const maxObjects = 256;
/** Beyond that many flows on them it is neither. */
const maxFlows = 20_000;

export class IncrementalPass {
  readonly #parts: PassDeps;
  readonly #unswept: UnsweptObjects;
  #neighbourhood: { readonly of: Desired; readonly index: AffectedSet } | undefined;

  constructor(parts: PassDeps, unswept: UnsweptObjects) {
    this.#parts = parts;
    this.#unswept = unswept;
  }

  /**
   * @param ids all that was written since `base`
   * @param base the last pass, which left nothing undone
   */
  async run(
    ids: ReadonlySet<ObjectId>,
    state: State,
    base: PassResult,
    signal: AbortSignal,
  ): Promise<IncrementalResult | undefined> {
    const { shortcut } = this.#parts.dataplane;
    if (shortcut === undefined || ids.size > maxObjects || !isAtRest(base) || ![...ids].every(isNarrow)) {
      return undefined;
    }
    const before = base.state.desired;
    const reached = this.#follow(before, state.desired, ids);
    if (reached === undefined) return undefined;
    const { context } = base.residual;
    const from = compile(restrictTo(before, reached), context).program;
    const part = restrictTo(state.desired, reached);
    const compiled = compile(part, context);
    const to = compiled.program;
    if (!to.eips.every(({ id }) => base.verdicts?.get(id)?.ready.holds)) return undefined;

    const ground = await shortcut.base(signal);
    if (ground === undefined) return undefined;
    const plan = shortcut.planPart(from, to, ground);
    this.#unswept.add(plan.changes, part, compiled, "that was left to a pass over everything");
    if (!(await this.#write(plan, signal))) return undefined;
    const after = await shortcut.readBack(signal);
    if (after === undefined || shortcut.planPart(from, to, after).changes.length > 0) return undefined;

    const sweep = await this.#sweepFlows(endsRuledBy([from, to]), state, base, signal);
    if (sweep === undefined) return undefined;
    const blocked = new Map([...base.residual.compiled.blocked].filter(([id]) => !reached.has(id)));
    for (const [id, block] of compiled.blocked) blocked.set(id, block);
    this.#unswept.clear({ revision: state.desired.revision, blocked });
    const verdicts = judge(part, compiled, {
      missing: new Map(),
      contested: new Map(),
      contradicted: new Map(),
      isForwarding: true,
      isHeldBack: false,
    });
    return { changes: plan.changes, sweep, verdicts, blocked, reached };
  }

  /** @returns false where the kernel moved or refused */
  async #write(plan: RulePlan, signal: AbortSignal): Promise<boolean> {
    try {
      if (plan.changes.length > 0) await this.#parts.dataplane.apply(plan, signal);
      return true;
    } catch (error) {
      // A whole pass tries again, finds out who is at fault, and tells.
      if (error instanceof GatewayError) return false;
      throw error;
    }
  }

  /**
   * Ends the flows that contradict the set as it is now. Only those with one of `ends` can have come to do so; whether they
   * do depends on the whole program, which is compiled where there are any.
   *
   * @returns `undefined` where that is for a whole pass, which tells what failed
   */
  async #sweepFlows(
    ends: readonly FlowEnd[],
    { desired, ledger }: State,
    { residual, seen }: PassResult,
    signal: AbortSignal,
  ): Promise<SweepResult | undefined> {
    const { conntrack } = this.#parts;
    try {
      const { flows, total } = await conntrack.find(hasEndOf(ends), maxFlows, signal, ends);
      if (total > flows.length) return undefined;
      if (total === 0) return { removed: 0, remaining: [], shadowed: 0 };
      const { program } = compile(desired, residual.context);
      const contradicts = compileContradicts({ program, retired: ledger.retired, network: seen.network });
      const doomed = flows.filter((flow) => contradicts(viewOf(flow)));
      const { removed } = await conntrack.remove(doomed, signal);
      return { removed, remaining: [], shadowed: 0 };
    } catch (error) {
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
  }

  #follow(before: Desired, after: Desired, ids: ReadonlySet<ObjectId>): ReadonlySet<ObjectId> | undefined {
    const known = this.#neighbourhood;
    const index = known?.of === before ? known.index : new AffectedSet(before);
    index.follow(before, after, ids);
    this.#neighbourhood = { of: after, index };
    return index.around(ids, [before, after], maxObjects);
  }
}

/** FIPs and DNATs come down to rules of their own; all else moves addresses, routes, or what others share. */
function isNarrow(id: ObjectId): boolean {
  const { kind } = parseObjectId(id);
  return kind === "fip" || kind === "dnat";
}

function isAtRest({ isClean, gate, residual, refusals }: PassResult): boolean {
  const { quarantined, probing } = residual.context;
  return (
    isClean &&
    gate === "open" &&
    refusals.length === 0 &&
    quarantined.size === 0 &&
    (probing?.size ?? 0) === 0 &&
    residual.sysctls.length === 0
  );
}
