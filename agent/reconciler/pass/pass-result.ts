/** What a pass needs, and its result. */

import type { Compiled } from "../../../lib/compile/compile.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { GatewayConfig } from "../../../lib/model/gateway-config.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { ObjectVerdict } from "../../../lib/model/status.ts";
import type { Gates } from "../../../lib/plan/gate-state.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Clock } from "../../clock.ts";
import type { Announcer } from "../../kernel/drivers.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { Adoption } from "../adoption.ts";
import type { ArpConflicts } from "../eips/arp-conflicts.ts";
import type { ArpProbe } from "../eips/arp-probe.ts";
import type { HeldEips } from "../eips/held-eips.ts";
import type { ThrottledRepair } from "../retry/repair-throttle.ts";
import type { PassFailure, Subsystem } from "../subsystem.ts";
import type { SweepResult } from "../subsystems/flow-sweep.ts";
import type { FlowSubsystem } from "../subsystems/flows.ts";
import type { TimeLimits } from "../time-limits.ts";
import type { Gatekeeper } from "./gatekeeper.ts";

export interface PassDeps {
  readonly store: StateAccess;
  readonly subsystems: readonly Subsystem[];
  /** One of the subsystems: the ledger forgets an EIP when its flows are ended, and reports contain their number. */
  readonly flows: Pick<FlowSubsystem, "currentSweep">;
  readonly announcer: Pick<Announcer, "announce">;
  readonly arpProbe: Pick<ArpProbe, "probeState" | "review" | "isFree" | "isProbing" | "mayAdd">;
  readonly arpConflicts: Pick<ArpConflicts, "conflicts" | "probe">;
  readonly heldEips: Pick<HeldEips, "prepare">;
  readonly clock: Clock;
  readonly epoch: string;
  readonly config: GatewayConfig;
  readonly timeLimits: TimeLimits;
  readonly gatekeeper: Gatekeeper;
  readonly adoption: Pick<Adoption, "atStart" | "onStarted" | "awaitsRestart">;
  /** Requests another pass. */
  readonly wake: (reason: string) => void;
}

export interface PassResult extends Gates {
  /** The state that the pass worked on. */
  readonly state: State;
  /** The last reading. */
  readonly snapshot: Snapshot;
  /** The plan on the last reading. Without changes the gateway is converged. */
  readonly planAfter: Plan;
  /** Objects that are kept out of the program now, with the reason. */
  readonly blocked: Compiled["blocked"];
  /** `undefined` if the live state is not adopted yet: then nothing is known. */
  readonly verdicts: ReadonlyMap<ObjectId, ObjectVerdict> | undefined;
  /** What was written. */
  readonly changes: readonly Change[];
  readonly failures: readonly PassFailure[];
  /** `undefined` if there was no sweep of the flows. */
  readonly sweep: SweepResult | undefined;
  /** True once a pass of this process has verified every rule that is not quarantined. */
  readonly hasVerifiedRules: boolean;
  /** True if planning again gives no change. */
  readonly isClean: boolean;
  /** True if nothing is left to remove. What is desired may be missing: one bad object does not hold up removals of others. */
  readonly isCleared: boolean;
  /** Those of the changes that repaired what another program had changed. */
  readonly repairs: readonly Change[];
  /** Repairs that another program keeps undoing. */
  readonly throttled: readonly ThrottledRepair[];
  /** Milliseconds until the next pass is due. `undefined`: not before the resync. */
  readonly dueInMs: number | undefined;
}

/** The result of a pass over a live state that is not adopted yet: it only reads and plans. */
export function unadoptedResult(state: State, snapshot: Snapshot, planAfter: Plan): PassResult {
  return {
    state,
    snapshot,
    planAfter,
    blocked: planAfter.compiled.blocked,
    verdicts: undefined,
    changes: [],
    failures: [],
    sweep: undefined,
    gate: snapshot.facts.isGateClosed ? "closed" : "open",
    bfd: snapshot.facts.isBfdGateClosed ? "closed" : "open",
    hasVerifiedRules: false,
    isClean: false,
    isCleared: false,
    repairs: [],
    throttled: [],
    dueInMs: undefined,
  };
}
