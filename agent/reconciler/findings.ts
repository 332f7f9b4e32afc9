/** What a pass is made of and what it finds out. */
import type { State } from "../../lib/admission/state.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { Verdict } from "../../lib/model/status.ts";
import type { Change } from "../../lib/plan/change.ts";
import type { StatePort } from "../api/ports.ts";
import type { Clock } from "../clock.ts";
import type {
  Announcer,
  ConntrackDriver,
  Dataplane,
  GateState,
  NetworkDriver,
  Predecessor,
} from "../kernel/seams.ts";
import type { ConflictWatch } from "./conflict-watch.ts";
import type { Fight } from "./fights.ts";
import type { SweepResult } from "./flow-sweep.ts";
import type { Frame, Outlook, Seen } from "./outlook.ts";
import type { Prober } from "./prober.ts";
import type { Refusal } from "./refusals.ts";

export interface PassParts {
  readonly store: StatePort;
  readonly dataplane: Dataplane;
  /** The dataplanes that may have served before this one; asked for after it was first observed. */
  readonly predecessors: () => readonly Predecessor[];
  readonly network: NetworkDriver;
  readonly conntrack: ConntrackDriver;
  readonly announcer: Announcer;
  readonly prober: Prober;
  readonly conflictWatch: Pick<ConflictWatch, "conflicts" | "ask">;
  readonly clock: Clock;
  readonly epoch: string;
  readonly frame: Frame;
}

export interface PassFindings {
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
  readonly fights: readonly Fight[];
  /** When the next pass falls due by itself; `undefined`: not before the resync. */
  readonly dueInMs: number | undefined;
}
