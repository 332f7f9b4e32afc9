/**
 * Decides when the gate is closed and when it opens. In a fresh namespace nothing leaves the VPC until every rule is
 * verified: a flow that leaves earlier is untranslated, and stays so.
 */

import { parseObjectId } from "../../../lib/model/names.ts";
import type { GateState } from "../../../lib/plan/gate-state.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";

export class Gatekeeper {
  /** `undefined` until the first pass that read the rules has found whether the namespace is fresh. */
  #state: GateState | undefined;
  /** The store's revision at that time. */
  #firstRevision = 0;

  get isClosed(): boolean {
    return this.#state === "closed";
  }

  /** The gate for this reading. */
  on(snapshot: Snapshot): GateState {
    return this.#state ?? (areRulesRead(snapshot) ? first(snapshot) : "closed");
  }

  /** A pass begins. The first one that read the rules decides. */
  begin(snapshot: Snapshot, { desired }: State): void {
    if (this.#state !== undefined || !areRulesRead(snapshot)) return;
    this.#state = first(snapshot);
    this.#firstRevision = desired.revision;
  }

  opened(): void {
    this.#state = "open";
  }

  /**
   * True if every rule that is not quarantined is verified, and all objects that were desired at start are settled.
   * Objects written later do not count, otherwise a busy writer would keep the gate closed.
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

/** Closed in a fresh namespace, and if an earlier process closed it and ended before it could open it. */
function first({ facts }: Snapshot): GateState {
  if (facts.isGateClosed) return "closed";
  return facts.isPristine && !facts.previousHoldsObjects ? "closed" : "open";
}
