/**
 * The gate: in a fresh namespace nothing leaves the VPC before every rule was verified, since what leaves earlier leaves
 * untranslated, and goes on so.
 */

import { parseObjectId } from "../../../lib/model/names.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Dataplane, GateState } from "../../kernel/drivers.ts";
import type { Outlook, Seen } from "../pass/outlook.ts";
import type { PreviousDataplanes } from "./previous-dataplane.ts";

export class Gatekeeper {
  readonly #dataplane: Dataplane;
  readonly #heritage: PreviousDataplanes;
  /** `undefined` until the first pass has told whether the namespace is fresh. */
  #state: GateState | undefined;
  /** The store's revision at which that was told. */
  #firstRevision = 0;

  constructor(dataplane: Dataplane, heritage: PreviousDataplanes) {
    this.#dataplane = dataplane;
    this.#heritage = heritage;
  }

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** What is asked of the gate, on what was read. */
  on(seen: Seen): GateState {
    return this.#state ?? this.#first(seen);
  }

  /** A pass begins: the first one decides. */
  begin(seen: Seen, { desired }: State): void {
    if (this.#state !== undefined) return;
    this.#state = this.#first(seen);
    this.#firstRevision = desired.revision;
  }

  opened(): void {
    this.#state = "open";
  }

  /**
   * True where every rule that is not quarantined verified, and nothing is on its way that was desired when this life
   * began. What is written later is asked about while traffic flows, or a busy writer would keep the gate closed.
   */
  isWhole({ desired }: State, { rules, compiled }: Outlook): boolean {
    if (rules.changes.length > 0) return false;
    for (const [id, { reason }] of compiled.blocked) {
      const { kind, name } = parseObjectId(id);
      const revision = objectsOf(desired, kind).get(name)?.revision ?? 0;
      if (reason === "Pending" && revision <= this.#firstRevision) return false;
    }
    return true;
  }

  /** Closed in a fresh namespace, and where a pass before this life closed it and did not live to open it. */
  #first({ rules }: Seen): GateState {
    if (this.#dataplane.isGateClosed(rules)) return "closed";
    return this.#dataplane.isPristine(rules) && !this.#heritage.holdsRules ? "closed" : "open";
  }
}
