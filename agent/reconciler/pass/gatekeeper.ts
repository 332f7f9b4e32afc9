/**
 * Decides when the gates are closed and when they open. In a fresh namespace nothing leaves the VPC untranslated until a set was
 * accepted and every rule of it is verified: a flow that leaves earlier stays untranslated. Without nf_tables the gate drops what
 * is translated, too, so there it does not wait for a set.
 */

import type { GatewayConfig } from "../../../lib/model/gateway-config.ts";
import { parseObjectId } from "../../../lib/model/names.ts";
import type { GateState, Gates } from "../../../lib/plan/gate-state.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { KernelFacts, Snapshot } from "../../../lib/plan/plan-input.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Clock } from "../../clock.ts";

/** A set whose objects come one by one counts as accepted after so many milliseconds without a write. */
const quietMs = 5_000;

type Config = Pick<GatewayConfig, "untranslated" | "isBfdGated">;

export class Gatekeeper {
  readonly #config: Config;
  readonly #clock: Pick<Clock, "bootMs">;
  /** `undefined` until the first pass that read the rules has found whether the namespace is fresh. */
  #gates: Gates | undefined;
  /** False if the closed gate drops translated packets, too: where there is no nf_tables. */
  #isSelective = true;
  /** True once a pass began over a set that was accepted. */
  #isSetSeen = false;
  /** Objects up to this revision must be settled before the gate opens. */
  #awaitedRevision = 0;
  #hasVerifiedRules = false;
  /** True if the set's objects come one by one, or came so: an earlier process may have ended before the last one. */
  #isGradual: boolean;
  #lastWriteMs: number;
  /** Writers that wait for what they wrote, and may then write more. */
  #waiting = 0;

  /** @param stored the state at the start of this process */
  constructor(config: Config, stored: State, clock: Pick<Clock, "bootMs">) {
    this.#config = config;
    this.#clock = clock;
    this.#isGradual = stored.isSet;
    this.#lastWriteMs = clock.bootMs();
  }

  /** A set was announced whose objects come one by one: it counts as accepted after some seconds without a write. */
  acceptOnceQuiet(): void {
    this.#isGradual = true;
  }

  /**
   * A client writes objects one by one and waits for each. On a slow machine one write can take longer than {@link quietMs}.
   * @returns what to call once it has its answer
   */
  expectMore(): () => void {
    this.#waiting++;
    return () => {
      this.#waiting--;
      this.onWrite();
    };
  }

  /** The desired set changed. */
  onWrite(): void {
    this.#lastWriteMs = this.#clock.bootMs();
  }

  /** True once a pass of this process has verified every rule that is not quarantined. The agent is ready then. */
  get hasVerifiedRules(): boolean {
    return this.#hasVerifiedRules;
  }

  /** The gates for this reading. */
  gatesFor(snapshot: Snapshot): Gates {
    if (this.#gates !== undefined) return this.#gates;
    if (areRulesRead(snapshot)) return this.#first(snapshot);
    return { gate: "closed", bfd: this.#config.isBfdGated ? "closed" : "open" };
  }

  /** A pass begins. The first one that read the rules decides. */
  onPassStart(snapshot: Snapshot, state: State): void {
    const isSetNew = !this.#isSetSeen && this.#isSetAccepted(state);
    if (isSetNew) this.#awaitedRevision = state.desired.revision;
    this.#isSetSeen ||= isSetNew;
    if (this.#gates !== undefined || !areRulesRead(snapshot)) return;
    this.#gates = this.#first(snapshot);
    this.#isSelective = snapshot.facts.isGateSelective;
    this.#awaitedRevision = state.desired.revision;
  }

  /**
   * True if every rule that is not quarantined is verified, and all objects are settled that were desired at the start, or
   * by the set that was accepted since. Objects written later do not count, otherwise a busy writer would keep the gates closed.
   */
  verify({ desired }: State, snapshot: Snapshot, { parts, compiled }: Plan): boolean {
    if (!areRulesRead(snapshot)) return false;
    const isSettled = (name: "rule" | "gate") =>
      parts.get(name)?.steps.every(({ changes }) => changes.length === 0) ?? false;
    if (!isSettled("rule") || !isSettled("gate")) return false;
    for (const [id, { reason }] of compiled.blocked) {
      const { kind, name } = parseObjectId(id);
      const revision = objectsOf(desired, kind).get(name)?.revision ?? 0;
      if (reason === "Pending" && revision <= this.#awaitedRevision) return false;
    }
    this.#hasVerifiedRules = true;
    return true;
  }

  /** The gates after a pass that verified this plan. */
  gatesAfterVerifying(state: State, snapshot: Snapshot, { program }: Pick<Plan, "program">): Gates {
    const { gate, bfd } = this.gatesFor(snapshot);
    const isTranslating = program.fips.length + program.dnats.length + program.pools.length > 0;
    return { gate: this.#isGateDue(state) ? "open" : gate, bfd: isTranslating ? "open" : bfd };
  }

  onOpened(gates: Gates): void {
    this.#gates = gates;
  }

  /** True if a pass over this state may open a gate that is closed now. */
  mayOpen(state: State): boolean {
    if (this.#gates === undefined) return true;
    return this.#gates.bfd === "closed" || (this.#gates.gate === "closed" && this.#isGateDue(state));
  }

  /** True if the gate is to open once everything is verified. */
  #isGateDue(state: State): boolean {
    if (!this.#isSelective) return true;
    return this.#config.untranslated === "forward" && this.#isSetAccepted(state);
  }

  /**
   * Milliseconds until a pass has to look whether a set whose objects come one by one is complete. `undefined` if no gate
   * waits for that. 0 if the set was completed during a pass.
   */
  dueInMs({ lastFullSet }: State): number | undefined {
    const isWaiting =
      this.#isGradual && this.#gates?.gate === "closed" && this.#config.untranslated === "forward";
    if (!isWaiting || this.#isSetSeen || lastFullSet !== undefined) return undefined;
    return Math.max(0, this.#quietInMs);
  }

  /** Single writes may be the beginning of a set of which the rest is still to come. */
  #isSetAccepted({ lastFullSet }: State): boolean {
    if (this.#isSetSeen || lastFullSet !== undefined) return true;
    return this.#isGradual && this.#quietInMs <= 0;
  }

  get #quietInMs(): number {
    if (this.#waiting > 0) return quietMs;
    return this.#lastWriteMs + quietMs - this.#clock.bootMs();
  }

  #first({ facts }: Snapshot): Gates {
    const { untranslated, isBfdGated } = this.#config;
    const isKept = untranslated === "drop" && facts.isGateSelective;
    return {
      gate: isKept ? "closed" : firstGate(facts),
      bfd: isBfdGated && (facts.isBfdGateClosed || !isInUse(facts)) ? "closed" : "open",
    };
  }
}

function areRulesRead({ unread }: Snapshot): boolean {
  return !unread.has("rule") && !unread.has("gate");
}

/** Closed in a fresh namespace, and if an earlier process closed it and ended before it could open it. */
function firstGate({ isGateClosed, isPristine, previousHoldsObjects }: KernelFacts): GateState {
  return isGateClosed || (isPristine && !previousHoldsObjects) ? "closed" : "open";
}

function isInUse({ holdsObjects, previousHoldsObjects }: KernelFacts): boolean {
  return holdsObjects || previousHoldsObjects;
}
