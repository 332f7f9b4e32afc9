/** What a pass is made of and what it finds out. */

import type { Change } from "../../../lib/model/change.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Verdict } from "../../../lib/model/status.ts";
import type { State } from "../../../lib/state/state.ts";
import type { Clock } from "../../clock.ts";
import type {
  Announcer,
  ConntrackDriver,
  Dataplane,
  GateState,
  NetworkDriver,
  PreviousDataplane,
} from "../../kernel/drivers.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { ArpConflicts } from "../eips/arp-conflicts.ts";
import type { ArpProbe } from "../eips/arp-probe.ts";
import type { ThrottledRepair } from "../retry/repair-throttle.ts";
import type { SweepResult } from "../subsystems/flow-sweep.ts";
import type { Refusal } from "./failures.ts";
import type { Frame, Outlook, Seen } from "./outlook.ts";

export interface PassDeps {
  readonly store: StateAccess;
  readonly dataplane: Dataplane;
  /** The dataplanes that may have served before this one; asked for after it was first observed. */
  readonly previousDataplanes: () => readonly PreviousDataplane[];
  readonly network: NetworkDriver;
  readonly conntrack: ConntrackDriver;
  readonly announcer: Announcer;
  readonly arpProbe: ArpProbe;
  readonly arpConflicts: Pick<ArpConflicts, "conflicts" | "ask">;
  readonly clock: Clock;
  readonly epoch: string;
  readonly frame: Frame;
}

export interface PassResult {
  /** The state that the pass worked on. */
  readonly state: State;
  /** The last reading. */
  readonly seen: Seen;
  /** What planning on the last reading still asks for; without changes the gateway is converged. */
  readonly residual: Outlook;
  /** `undefined` where nothing may be said: live state was not adopted yet. */
  readonly verdicts: ReadonlyMap<ObjectId, Verdict> | undefined;
  readonly changes: readonly Change[];
  readonly refusals: readonly Refusal[];
  /** `undefined` where the flows were not looked at. */
  readonly sweep: SweepResult | undefined;
  readonly gate: GateState;
  readonly isClean: boolean;
  /** Which of the changes put right what somebody else had changed. */
  readonly repairs: readonly Change[];
  /** What somebody undoes as often as it is put right. */
  readonly fights: readonly ThrottledRepair[];
  /** When the next pass falls due by itself; `undefined`: not before the resync. */
  readonly dueInMs: number | undefined;
}
