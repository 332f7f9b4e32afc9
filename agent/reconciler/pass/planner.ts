/** Plans a reading with all else that is known: ARP results, leases, quarantine, the gates. */

import { expiredLeases } from "../../../lib/admission/leases.ts";
import { type Ip, prefixLengthOf } from "../../../lib/model/ip.ts";
import { emptyLedger } from "../../../lib/model/ledger.ts";
import type { ObservedRoute } from "../../../lib/model/observed.ts";
import { type MemoizedPlan, memoizedPlan } from "../../../lib/plan/memoized-plan.ts";
import { boundByRoute } from "../../../lib/plan/network/bindings.ts";
import { mainTable, routeProtocol } from "../../../lib/plan/network/routes.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { PlanContext, Snapshot } from "../../../lib/plan/plan-input.ts";
import type { SubsystemPlanner } from "../../../lib/plan/subsystem.ts";
import type { State } from "../../../lib/state/state.ts";
import { runYielding } from "../../run-yielding.ts";
import { planWithProbes } from "../eips/plan-with-probes.ts";
import type { Quarantine } from "../retry/quarantine.ts";
import type { Subsystem } from "../subsystem.ts";
import type { PassDeps } from "./pass-result.ts";

type PlannerDeps = Pick<
  PassDeps,
  "store" | "epoch" | "clock" | "config" | "gatekeeper" | "arpProbe" | "arpConflicts"
>;

export class Planner {
  readonly #deps: PlannerDeps;
  readonly #quarantine: Quarantine;
  readonly #planners: readonly SubsystemPlanner[];
  readonly #plan: MemoizedPlan;
  /** The gateway's own addresses by the last plan. */
  #own: ReadonlySet<Ip> = new Set();

  constructor(deps: PlannerDeps, subsystems: readonly Subsystem[], quarantine: Quarantine) {
    this.#deps = deps;
    this.#quarantine = quarantine;
    this.#planners = subsystems.map(({ planner }) => planner);
    this.#plan = memoizedPlan(this.#planners);
  }

  /** What a pass over `snapshot` would do for `state`. Does not touch the kernel. Lets the event loop run. */
  async plan(state: State, snapshot: Snapshot, overrides?: Partial<PlanContext>): Promise<Plan> {
    const context = { ...this.#context(state, snapshot), ...overrides };
    return this.#remember(await runYielding(this.#plan(this.#withLedger(state), snapshot, context)));
  }

  /** The same with the results of ARP probes, and starts probes for addresses that were not probed yet. */
  planWithProbes(state: State, snapshot: Snapshot): Promise<Plan> {
    const { ledger } = this.#withLedger(state);
    const plan = (probes?: Partial<PlanContext>) => this.plan(state, snapshot, probes);
    return planWithProbes(plan, this.#deps.arpProbe, ledger, snapshot.facts.network);
  }

  /**
   * For read-only requests: plans in parts, and leaves nothing behind that affects a pass. Contains what a pass removes
   * only after everything else is verified.
   */
  preview(state: State, snapshot: Snapshot): Promise<Plan> {
    const plan = memoizedPlan(this.#planners);
    const context = { ...this.#context(state, snapshot), isCleanupAllowed: true };
    return runYielding(plan(this.#withLedger(state), snapshot, context));
  }

  /** True if the store is unset and the kernel has rules, limits, routes or bindings: someone may still use them. */
  isUnadopted(state: State, { facts, unread }: Snapshot): boolean {
    if (state.isSet) return false;
    const error = unread.get("rule");
    if (error !== undefined) throw error;
    const { previousHoldsObjects, holdsObjects, holdsLimits, network } = facts;
    if (previousHoldsObjects || holdsObjects || holdsLimits) return true;
    return boundByRoute(network).length > 0 || network.routes.some(isOfRoute);
  }

  /**
   * `state` with the newest ledger: the pass itself writes to the ledger. A ledger of another epoch counts as empty.
   */
  #withLedger(state: State): State {
    const { store, epoch } = this.#deps;
    const { ledger } = store.current;
    return { ...state, ledger: ledger.epoch === epoch ? ledger : { ...emptyLedger, epoch } };
  }

  #context(state: State, snapshot: Snapshot): PlanContext {
    const { clock, arpProbe, arpConflicts, config, gatekeeper } = this.#deps;
    return {
      config,
      isSet: state.isSet,
      ...gatekeeper.gatesFor(snapshot),
      isCleanupAllowed: false,
      knownOwn: this.#own,
      expiredLeases: expiredLeases(state, clock.instant()),
      ...arpProbe.probeState,
      heldConflicts: arpConflicts.conflicts,
      quarantined: this.#quarantine.objects,
    };
  }

  #remember(plan: Plan): Plan {
    this.#own = plan.own;
    return plan;
  }
}

/** True for a route that the agent added for a Route. The default route needs no object. */
function isOfRoute({ table, protocol, destination }: ObservedRoute): boolean {
  return table === mainTable && protocol === routeProtocol && prefixLengthOf(destination) > 0;
}
