/**
 * Adds Eips in an incremental pass: the ledger first, then what else follows from Eips, and when their rules are written, the
 * addresses. One reading of the network afterwards proves that the addresses are there and that nothing else changed since the last one.
 */

import type { Change } from "../../../lib/model/change.ts";
import type { ProgramEip } from "../../../lib/model/program.ts";
import type { GuardPart } from "../../../lib/plan/guard-users.ts";
import { bindingSteps, isNetworkWith, whyNotAlone } from "../../../lib/plan/network/added-eips.ts";
import { describeAddressStep, entryOf } from "../../../lib/plan/network/addresses.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { State } from "../../../lib/state/state.ts";
import type { NetworkDriver } from "../../kernel/drivers.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { ArpConflicts } from "../eips/arp-conflicts.ts";
import type { ArpProbe } from "../eips/arp-probe.ts";
import { ledgerFailures, recordAdded } from "../eips/ledger.ts";
import type { PassResult } from "../pass/pass-result.ts";
import { quietRequest } from "../pass-request.ts";
import type { Subsystem } from "../subsystem.ts";
import type { Reason } from "./why-full.ts";

export interface EipAdditionsDeps {
  readonly store: StateAccess;
  readonly epoch: string;
  readonly network: Pick<NetworkDriver, "observe" | "applyAddresses">;
  readonly subsystems: readonly Pick<Subsystem, "planner" | "observe" | "apply">[];
  readonly arpProbe: Pick<ArpProbe, "mayAdd">;
  readonly arpConflicts: Pick<ArpConflicts, "conflicts">;
}

/** What a pass that added Eips knows: the last pass's plan and reading with them. */
export interface WithEips {
  readonly planAfter: Plan;
  readonly snapshot: Snapshot;
  readonly changes: readonly Change[];
}

export class EipAdditions {
  readonly #deps: EipAdditionsDeps;

  constructor(deps: EipAdditionsDeps) {
    this.#deps = deps;
  }

  /** Why a full pass has to add them. `undefined`: {@link writeAhead}, {@link begin} and {@link bind} can. */
  whyFull(
    added: readonly ProgramEip[],
    { planAfter, snapshot }: PassResult,
    { ledger }: State,
    { internal }: GuardPart,
  ): Reason | undefined {
    const { arpProbe, arpConflicts, epoch } = this.#deps;
    if (ledger.epoch !== epoch) return "the ledger is of another epoch";
    const { addresses, compileContext } = planAfter;
    const { network } = snapshot.facts;
    const { externalInterface } = compileContext;
    const reason = whyNotAlone(added, { network, ledger, addresses, externalInterface });
    if (reason !== undefined) return reason;
    if (!added.every(({ address }) => arpProbe.mayAdd(address))) return "an address has to be probed for";
    if (added.some(({ address }) => arpConflicts.conflicts.has(address)))
      return "another host holds an address";
    if (added.some(({ address }) => internal.has(address))) return "an object translates to an address";
    return undefined;
  }

  /**
   * Before any write to the kernel.
   * @returns false if the ledger could not be written
   */
  async writeAhead(added: readonly ProgramEip[]): Promise<boolean> {
    const { store } = this.#deps;
    const entries = added.map(entryOf);
    return (await ledgerFailures(() => recordAdded(store, entries))).length === 0;
  }

  /**
   * Before the rules are read and written, so that what is committed here is no change that came after that reading.
   * @returns `undefined`: refused
   */
  async begin(
    added: readonly ProgramEip[],
    state: State,
    { planAfter, snapshot }: PassResult,
    signal: AbortSignal,
  ): Promise<WithEips | undefined> {
    const program = { ...planAfter.program, eips: [...planAfter.program.eips, ...added] };
    const plan = { ...planAfter, program };
    const observed = new Map(snapshot.observed);
    const changes: Change[] = [];
    for (const subsystem of this.#deps.subsystems) {
      const { planner } = subsystem;
      if (planner.planEips === undefined) continue;
      const found = await subsystem.observe(signal, quietRequest);
      const { steps } = planner.planEips(program, found, snapshot.facts);
      const own = steps.flatMap((step) => step.changes);
      changes.push(...own);
      const context = { state, plan, changes, replan: async () => [] };
      if (own.length > 0 && (await subsystem.apply(steps, context, signal)).length > 0) return undefined;
      const after = own.length === 0 ? found : await subsystem.observe(signal, quietRequest);
      const left = planner.planEips(program, after, snapshot.facts).steps;
      if (left.some((step) => step.changes.length > 0)) return undefined;
      observed.set(planner.name, after);
    }
    return { planAfter: plan, snapshot: { ...snapshot, observed }, changes };
  }

  /** When the rules of these Eips are written. `undefined`: refused, or something else changed too. */
  async bind(
    added: readonly ProgramEip[],
    { planAfter, snapshot, changes }: WithEips,
    signal: AbortSignal,
  ): Promise<WithEips | undefined> {
    const { network, store, subsystems } = this.#deps;
    const { facts } = snapshot;
    const steps = bindingSteps(added, planAfter.context.config.eipBinding);
    if ((await network.applyAddresses(steps, signal)).length > 0) return undefined;
    const after = await network.observe(signal);
    if (!isNetworkWith(steps, facts.network, after)) return undefined;
    const eipsNamedByRules = facts.eipsNamedByRules.union(new Set(added.map(({ address }) => address)));
    const factsAfter = { ...facts, network: after, eipsNamedByRules };
    const observed = new Map(snapshot.observed);
    for (const { planner } of subsystems) {
      const read = observed.get(planner.name);
      if (planner.withNetwork !== undefined) observed.set(planner.name, planner.withNetwork(read, after));
    }
    return {
      planAfter: { ...planAfter, facts: factsAfter, ledger: store.current.ledger },
      snapshot: { ...snapshot, facts: factsAfter, observed },
      changes: [...steps.map(describeAddressStep), ...changes],
    };
  }
}
