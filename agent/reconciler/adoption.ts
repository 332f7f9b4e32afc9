/** Reads the live state as a set, and takes it over as the desired set: on request, or by itself at the start. */

import { adoptChunked } from "../../lib/admission/adopt.ts";
import type { IfMatch } from "../../lib/admission/writes.ts";
import { type Imported, importSet, type ReadableDataplane } from "../../lib/import/import.ts";
import { interfacesOfPrevious, readPrevious } from "../../lib/import/previous.ts";
import type { Unread } from "../../lib/import/read-rules.ts";
import { remaindersIn } from "../../lib/import/remainders.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { GatewayConfig } from "../../lib/model/gateway-config.ts";
import type { Gateway } from "../../lib/model/schema.ts";
import type { Plan } from "../../lib/plan/plan.ts";
import type { Snapshot } from "../../lib/plan/plan-input.ts";
import type { PreviousObserved } from "../../lib/plan/previous.ts";
import type { QosObserved } from "../../lib/plan/qos/observed.ts";
import type { State } from "../../lib/state/state.ts";
import type { Clock } from "../clock.ts";
import type { ImportableDataplane, QosDriver } from "../kernel/drivers.ts";
import { runYielding } from "../run-yielding.ts";
import type { StateAccess } from "../store/state-access.ts";

export interface AdoptionDeps {
  readonly store: StateAccess;
  readonly dataplane: Pick<ImportableDataplane, "readObjects" | "findInterfaces">;
  readonly qos?: Pick<QosDriver, "readScripted">;
  readonly config: GatewayConfig;
  readonly clock: Pick<Clock, "instant">;
  readonly gatekeeper: { acceptOnceQuiet(): void };
  /** True if an unset store takes over the state that the first passes find. */
  readonly isAutomatic: boolean;
  /** Rejects with `conflict` for interfaces with which the agent could not start again. */
  readonly checkGateway?: ((gateway: Gateway) => Promise<void>) | undefined;
  /** Called when the live state was taken over without a request. */
  readonly onAdopted?: ((imported: Imported) => void) | undefined;
}

export class Adoption {
  readonly #deps: AdoptionDeps;
  #isStarting = true;
  #awaitsRestart = false;
  #unread: readonly Unread[] = [];
  #refusal: string | undefined;

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
  }

  /** What could not be read when the live state was taken over without a request. Empty once a full set was accepted. */
  get unread(): readonly Unread[] {
    return this.#deps.store.current.lastFullSet === undefined ? this.#unread : [];
  }

  /** Why automatic adoption was refused. `undefined` if another part of the status reports the reason. */
  get refusal(): string | undefined {
    return this.#deps.store.current.isSet ? undefined : this.#refusal;
  }

  /**
   * True once a set was taken over that names other interfaces than those of this process: it starts again with them, and until
   * then no pass may write.
   */
  get awaitsRestart(): boolean {
    return this.#awaitsRestart;
  }

  /** The live state as a set. Throws if the rules cannot be read. */
  async read(
    snapshot: Snapshot,
    { ledger, parts }: Pick<Plan, "ledger" | "parts">,
    signal: AbortSignal,
  ): Promise<Imported> {
    const { dataplane, config } = this.#deps;
    const { facts, observed, unread } = snapshot;
    const error = unread.get("rule") ?? unread.get("route") ?? unread.get("previous") ?? unread.get("qos");
    if (error !== undefined) throw error;
    const previous = (observed.get("previous") ?? []) as readonly PreviousObserved[];
    const rules = observed.get("rule");
    const links = facts.network.links.map(({ name }) => name);
    const current: ReadableDataplane = {
      readObjects: (context) => dataplane.readObjects(rules, context),
      interfaces: dataplane.findInterfaces(rules, links),
    };
    const scripted = await this.#deps.qos?.readScripted?.(signal);
    const imported = await runYielding(
      importSet({
        dataplanes: [current, ...previous.map(readablePrevious)],
        network: facts.network,
        ledger,
        named: facts.eipsNamedByRules,
        config,
        qos: observed.get("qos") as QosObserved | undefined,
        ...(scripted !== undefined && { scripted }),
      }),
    );
    const remainders = this.#deps.store.current.isSet ? [] : remaindersIn(parts);
    return { ...imported, unread: [...imported.unread, ...remainders] };
  }

  /** Makes the set that was read the desired set. Throws as {@link adoptChunked} does, and as `checkGateway`. */
  async adopt({ set }: Imported, ifMatch?: IfMatch): Promise<State> {
    const { store, clock, gatekeeper, checkGateway } = this.#deps;
    await checkGateway?.(set.gateway);
    const { state } = await store.transact(function* (state) {
      const { changes } = yield* adoptChunked(state, { set, ifMatch }, { now: clock.instant() });
      return { changes, result: undefined };
    });
    gatekeeper.acceptOnceQuiet();
    this.#awaitsRestart = set.gateway.vpcInterface !== undefined;
    return state;
  }

  /**
   * An unset store and a live state were found. At the start the live state is taken over, if the settings say so.
   * @returns the new state; `undefined`: it was not taken over, or it names other interfaces, with which the agent starts again
   */
  async atStart(
    snapshot: Snapshot,
    plan: Pick<Plan, "ledger" | "parts">,
    signal: AbortSignal,
  ): Promise<State | undefined> {
    if (!this.#deps.isAutomatic || !this.#isStarting) return undefined;
    try {
      const imported = await this.read(snapshot, plan, signal);
      const state = await this.adopt(imported);
      this.#unread = imported.unread;
      this.#deps.onAdopted?.(imported);
      return this.#awaitsRestart ? undefined : state;
    } catch (error) {
      // The status says why: the store that cannot be written, or the rules that cannot be read.
      if (!(error instanceof GatewayError)) throw error;
      this.#refusal = error.code === "conflict" ? error.message : undefined;
      return undefined;
    }
  }

  /** A pass began over a state that is set, or over a kernel without a live state: this is no start any more. */
  onStarted(): void {
    this.#isStarting = false;
  }
}

function readablePrevious(one: PreviousObserved): ReadableDataplane {
  return { readObjects: (context) => readPrevious(one, context), interfaces: interfacesOfPrevious(one) };
}
