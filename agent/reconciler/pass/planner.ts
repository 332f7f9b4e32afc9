/** What a pass would do, under all that is known besides what was read: the wire's answers, leases, quarantine, the gate. */
import { expiredLeases } from "../../../lib/admission/leases.ts";
import { type Chunked, runSync } from "../../../lib/chunked.ts";
import { emptyLedger } from "../../../lib/model/ledger.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import { boundByRoute } from "../../../lib/plan/network/bindings.ts";
import type { State } from "../../../lib/state/state.ts";
import { runYielding } from "../../run-yielding.ts";
import type { Gatekeeper } from "../subsystems/gate.ts";
import type { PreviousDataplanes } from "../subsystems/previous-dataplane.ts";
import { type Circumstances, createLookAhead, type LookAhead, type Outlook, type Seen } from "./outlook.ts";
import type { PassDeps } from "./pass-result.ts";

/** Objects that the kernel refused, with its words. */
type Quarantined = () => ReadonlyMap<ObjectId, string>;

export class Foresight {
  readonly #parts: PassDeps;
  readonly #heritage: PreviousDataplanes;
  readonly #gate: Gatekeeper;
  readonly #quarantined: Quarantined;
  readonly #lookAhead: LookAhead;

  constructor(parts: PassDeps, heritage: PreviousDataplanes, gate: Gatekeeper, quarantined: Quarantined) {
    this.#parts = parts;
    this.#heritage = heritage;
    this.#gate = gate;
    this.#quarantined = quarantined;
    this.#lookAhead = createLookAhead(parts.dataplane, parts.frame);
  }

  /** What a pass over `seen` would do for `state`. Asks nobody, changes nothing. */
  foresee(state: State, seen: Seen): Outlook {
    return runSync(this.#look(state, seen));
  }

  /** The same, with the event loop having its turns meanwhile. */
  look(state: State, seen: Seen, but?: Partial<Circumstances>): Promise<Outlook> {
    return runYielding(this.#look(state, seen, but));
  }

  /** True where the store says nothing and the kernel holds rules or bindings: whoever put them there still relies on them. */
  isUnadopted(state: State, seen: Seen): boolean {
    if (state.isSet) return false;
    const { dataplane } = this.#parts;
    return (
      this.#heritage.holdsRules || dataplane.holdsRules(seen.rules) || boundByRoute(seen.network).length > 0
    );
  }

  /** The desired set of one reading under the newest ledger, which the pass itself writes; another epoch's says nothing. */
  withLedger(state: State): State {
    const { store, epoch } = this.#parts;
    const { ledger } = store.current;
    return { ...state, ledger: ledger.epoch === epoch ? ledger : { ...emptyLedger, epoch } };
  }

  #look(state: State, seen: Seen, but: Partial<Circumstances> = {}): Chunked<Outlook> {
    const { clock, arpProbe } = this.#parts;
    return this.#lookAhead(this.withLedger(state), seen, {
      gate: this.#gate.on(seen),
      expiredLeases: expiredLeases(state, clock.instant()),
      ...arpProbe.prospects,
      quarantined: this.#quarantined(),
      ...but,
    });
  }
}
