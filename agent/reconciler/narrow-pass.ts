/**
 * A pass over the few objects that were written, where the kernel proves that nothing else has changed. Its price
 * does not grow with the set. It uses the planners and the judge of every other pass, on the part of the set that the
 * change can reach, and leaves everything that is not plain to a whole pass: `undefined` asks for one.
 */
import { type Compiled, compile } from "../../lib/admission/compile.ts";
import { Neighbourhood, restrictTo } from "../../lib/admission/neighbourhood.ts";
import type { State } from "../../lib/admission/state.ts";
import { touches } from "../../lib/conntrack/touches.ts";
import type { Desired } from "../../lib/model/desired.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Ipv4 } from "../../lib/model/ipv4.ts";
import { type ObjectId, parseObjectId } from "../../lib/model/names.ts";
import type { Program } from "../../lib/model/program.ts";
import type { Verdict } from "../../lib/model/status.ts";
import type { Change } from "../../lib/plan/change.ts";
import { judge } from "../../lib/plan/judge.ts";
import type { Shortcut } from "../kernel/seams.ts";
import type { PassFindings, PassParts } from "./findings.ts";

export interface NarrowFindings {
  readonly changes: readonly Change[];
  /** Of the objects that the change could reach. */
  readonly verdicts: ReadonlyMap<ObjectId, Verdict>;
  /** Those that are kept out of the program now, of the same. */
  readonly blocked: Compiled["blocked"];
  readonly reached: ReadonlySet<ObjectId>;
}

/** Beyond that many objects a whole pass is hardly dearer. */
const mostObjects = 256;

export class NarrowPass {
  readonly #parts: PassParts;
  #neighbourhood: { readonly of: Desired; readonly index: Neighbourhood } | undefined;

  constructor(parts: PassParts) {
    this.#parts = parts;
  }

  /**
   * @param ids all that was written since `base`
   * @param base the last pass, which left nothing undone
   */
  async run(
    ids: ReadonlySet<ObjectId>,
    state: State,
    base: PassFindings,
    signal: AbortSignal,
  ): Promise<NarrowFindings | undefined> {
    const { shortcut } = this.#parts.dataplane;
    if (shortcut === undefined || ids.size > mostObjects || !isAtRest(base) || ![...ids].every(isNarrow)) {
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

    const changes = await this.#move(shortcut, from, to, signal);
    if (changes === undefined || (await this.#meetsFlows(from, to, signal))) return undefined;
    const verdicts = judge(part, compiled, {
      missing: new Map(),
      contradicted: new Map(),
      isForwarding: true,
      isHeldBack: false,
    });
    return { changes, verdicts, blocked: compiled.blocked, reached };
  }

  /** @returns what was changed, once it was read back; `undefined` where the kernel moved, refused, or holds anything else */
  async #move(
    shortcut: Shortcut,
    from: Program,
    to: Program,
    signal: AbortSignal,
  ): Promise<readonly Change[] | undefined> {
    const { dataplane } = this.#parts;
    const base = await shortcut.base(signal);
    if (base === undefined) return undefined;
    const plan = shortcut.planPart(from, to, base);
    try {
      if (plan.changes.length > 0) await dataplane.apply(plan, signal);
    } catch (error) {
      // A whole pass tries again, finds out who is at fault, and tells.
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
    const after = await shortcut.readBack(signal);
    if (after === undefined) return undefined;
    return shortcut.planPart(from, to, after).changes.length === 0 ? plan.changes : undefined;
  }

  /** True where there are flows that the change may contradict: which of them do depends on the whole program. */
  async #meetsFlows(from: Program, to: Program, signal: AbortSignal): Promise<boolean> {
    const addresses = new Set<Ipv4>();
    for (const { fips, dnats } of [from, to]) {
      for (const { eip, internalIp } of fips) addresses.add(eip).add(internalIp);
      for (const { eip } of dnats) addresses.add(eip);
    }
    if (addresses.size === 0) return false;
    return (await this.#parts.conntrack.find(touches(addresses), 1, signal)).total > 0;
  }

  #follow(before: Desired, after: Desired, ids: ReadonlySet<ObjectId>): ReadonlySet<ObjectId> | undefined {
    const known = this.#neighbourhood;
    const index = known?.of === before ? known.index : new Neighbourhood(before);
    index.follow(before, after, ids);
    this.#neighbourhood = { of: after, index };
    return index.around(ids, [before, after], mostObjects);
  }
}

/** FIPs and DNATs come down to rules of their own; all else moves addresses, routes, or what others share. */
function isNarrow(id: ObjectId): boolean {
  const { kind } = parseObjectId(id);
  return kind === "fip" || kind === "dnat";
}

function isAtRest({ isClean, gate, residual, refusals }: PassFindings): boolean {
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
