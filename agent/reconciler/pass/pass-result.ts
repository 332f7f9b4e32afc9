/** What a pass needs, and what it finds out. */

import type { Compiled } from "../../../lib/compile/compile.ts";
import type { Change } from "../../../lib/model/change.ts";
import type { GatewayConfig } from "../../../lib/model/gateway-config.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Verdict } from "../../../lib/model/status.ts";
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { GateState } from "../../../lib/plan/rules-planner.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Clock } from "../../clock.ts";
import type { Announcer } from "../../kernel/drivers.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { ArpConflicts } from "../eips/arp-conflicts.ts";
import type { ArpProbe } from "../eips/arp-probe.ts";
import type { Patience } from "../patience.ts";
import type { ThrottledRepair } from "../retry/repair-throttle.ts";
import type { PassFailure, Subsystem } from "../subsystem.ts";
import type { SweepResult } from "../subsystems/flow-sweep.ts";
import type { FlowSubsystem } from "../subsystems/flows.ts";

export interface PassDeps {
  readonly store: StateAccess;
  readonly subsystems: readonly Subsystem[];
  /** One of them: the ledger forgets an EIP once its flows are ended, and reports tell how many were. */
  readonly flows: Pick<FlowSubsystem, "sweepInHand">;
  readonly announcer: Pick<Announcer, "announce">;
  readonly arpProbe: Pick<ArpProbe, "prospects" | "review" | "isFree">;
  readonly arpConflicts: Pick<ArpConflicts, "conflicts" | "ask">;
  readonly clock: Clock;
  readonly epoch: string;
  readonly config: GatewayConfig;
  readonly patience: Patience;
  /** Asks for another pass. */
  readonly wake: (reason: string) => void;
}

export interface PassResult {
  /** The state that the pass worked on. */
  readonly state: State;
  /** The last reading. */
  readonly snapshot: Snapshot;
  /** The plan on the last reading; without changes the gateway is converged. */
  readonly residual: Plan;
  /** What is kept out of the program now, with why. */
  readonly blocked: Compiled["blocked"];
  /** `undefined` where nothing may be said: live state was not adopted yet. */
  readonly verdicts: ReadonlyMap<ObjectId, Verdict> | undefined;
  /** What was written. */
  readonly changes: readonly Change[];
  readonly failures: readonly PassFailure[];
  /** `undefined` where the flows were not looked at. */
  readonly sweep: SweepResult | undefined;
  readonly gate: GateState;
  /** Planning again asks for nothing. */
  readonly isClean: boolean;
  /** Which of the changes put right what somebody else had changed. */
  readonly repairs: readonly Change[];
  /** What somebody undoes as often as it is put right. */
  readonly throttled: readonly ThrottledRepair[];
  /** When the next pass falls due by itself; `undefined`: not before the resync. */
  readonly dueInMs: number | undefined;
}
