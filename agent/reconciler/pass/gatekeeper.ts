/**
 * Decides when the gate is closed and when it opens: in a fresh namespace nothing leaves the VPC before every rule was verified,
 * since what leaves earlier leaves untranslated, and goes on so.
 */

import { parseObjectId } from "../../../lib/model/names.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { GateState } from "../../../lib/plan/rules-planner.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";

export class Gatekeeper {
  /** `undefined` until the first pass that read the rules has told whether the namespace is fresh. */
  #state: GateState | undefined;
  /** The store's revision at which that was told. */
  #firstRevision = 0;

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** What is asked of the gate, on what was read. */
  on(snapshot: Snapshot): GateState {
    return this.#state ?? (areRulesRead(snapshot) ? first(snapshot) : "closed");
  }

  /** A pass begins: the first one that read the rules decides. */
  begin(snapshot: Snapshot, { desired }: State): void {
    if (this.#state !== undefined || !areRulesRead(snapshot)) return;
    this.#state = first(snapshot);
    this.#firstRevision = desired.revision;
  }

  opened(): void {
    this.#state = "open";
  }

  /**
   * True where every rule that is not quarantined verified, and nothing is on its way that was desired when this life
   * began. What is written later is asked about while traffic flows, or a busy writer would keep the gate closed.
   */
  isWhole({ desired }: State, snapshot: Snapshot, { parts, compiled }: Plan): boolean {
    if (!areRulesRead(snapshot)) return false;
    const isSettled = (name: "rule" | "gate") =>
      parts.get(name)?.steps.every(({ changes }) => changes.length === 0) ?? false;
    if (!isSettled("rule") || !isSettled("gate")) return false;
    for (const [id, { reason }] of compiled.blocked) {
      const { kind, name } = parseObjectId(id);
      const revision = objectsOf(desired, kind).get(name)?.revision ?? 0;
      if (reason === "Pending" && revision <= this.#firstRevision) return false;
    }
    return true;
  }
}

function areRulesRead({ unread }: Snapshot): boolean {
  return !unread.has("rule") && !unread.has("gate");
}

/** Closed in a fresh namespace, and where a pass before this life closed it and did not live to open it. */
function first({ facts }: Snapshot): GateState {
  if (facts.isGateClosed) return "closed";
  return facts.isPristine && !facts.previousHoldsObjects ? "closed" : "open";
}
