/** Reads the live state as a set, and takes it over as the desired set: on request, or by itself at the start. */

import { adoptChunked } from "../../lib/admission/adopt.ts";
import type { IfMatch } from "../../lib/admission/writes.ts";
import { type Imported, importSet } from "../../lib/import/import.ts";
import { readPrevious } from "../../lib/import/previous.ts";
import type { ReadContext, Unread } from "../../lib/import/read-rules.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { GatewayConfig } from "../../lib/model/gateway-config.ts";
import type { Plan } from "../../lib/plan/plan.ts";
import type { Snapshot } from "../../lib/plan/plan-input.ts";
import type { PreviousObserved } from "../../lib/plan/previous.ts";
import type { State } from "../../lib/state/state.ts";
import type { Clock } from "../clock.ts";
import type { ImportableDataplane } from "../kernel/drivers.ts";
import { runYielding } from "../run-yielding.ts";
import type { StateAccess } from "../store/state-access.ts";

export interface AdoptionDeps {
  readonly store: StateAccess;
  readonly dataplane: Pick<ImportableDataplane, "readObjects">;
  readonly config: GatewayConfig;
  readonly clock: Pick<Clock, "instant">;
  readonly gatekeeper: { acceptSet(): void };
  /** True if an unset store takes over the state that the first passes find. */
  readonly isAutomatic: boolean;
  /** Called when the live state was taken over without a request. */
  readonly onAdopted?: ((imported: Imported) => void) | undefined;
}

export class Adoption {
  readonly #deps: AdoptionDeps;
  #isStarting = true;
  #unread: readonly Unread[] = [];

  constructor(deps: AdoptionDeps) {
    this.#deps = deps;
  }

  /** What could not be read when the live state was taken over without a request. Empty once a full set was accepted. */
  get unread(): readonly Unread[] {
    return this.#deps.store.current.lastFullSet === undefined ? this.#unread : [];
  }

  /** The live state as a set. Throws if the rules cannot be read. */
  async read(snapshot: Snapshot, { own }: Pick<Plan, "own">): Promise<Imported> {
    const { dataplane, config } = this.#deps;
    const { facts, observed, unread } = snapshot;
    const error = unread.get("rule") ?? unread.get("route") ?? unread.get("previous");
    if (error !== undefined) throw error;
    const previous = (observed.get("previous") ?? []) as readonly PreviousObserved[];
    return runYielding(
      importSet({
        rules: [
          (context) => dataplane.readObjects(observed.get("rule"), context),
          ...previous.map((one) => (context: ReadContext) => readPrevious(one, context)),
        ],
        network: facts.network,
        own,
        named: facts.eipsNamedByRules,
        config,
      }),
    );
  }

  /** Makes the set that was read the desired set. Throws as {@link adoptChunked} does. */
  async adopt({ set }: Imported, ifMatch?: IfMatch): Promise<State> {
    const { store, clock, gatekeeper } = this.#deps;
    const { state } = await store.transact(function* (state) {
      const { changes } = yield* adoptChunked(state, { set, ifMatch }, { now: clock.instant() });
      return { changes, result: undefined };
    });
    gatekeeper.acceptSet();
    return state;
  }

  /**
   * An unset store and a live state were found. At the start the live state is taken over, if the settings say so.
   * @returns the new state; `undefined`: it was not taken over
   */
  async atStart(snapshot: Snapshot, plan: Pick<Plan, "own">): Promise<State | undefined> {
    if (!this.#deps.isAutomatic || !this.#isStarting) return undefined;
    try {
      const imported = await this.read(snapshot, plan);
      const state = await this.adopt(imported);
      this.#unread = imported.unread;
      this.#deps.onAdopted?.(imported);
      return state;
    } catch (error) {
      // The status says why: the store that cannot be written, or the rules that cannot be read.
      if (error instanceof GatewayError) return undefined;
      throw error;
    }
  }

  /** A pass began over a state that is set, or over a kernel without a live state: this is no start any more. */
  onStarted(): void {
    this.#isStarting = false;
  }
}
