/**
 * The pure half of a subsystem: its planning. The other half, which reads and writes the kernel, is
 * agent/reconciler/subsystem.ts.
 */
import { type Chunked, forEachChunked, inParts, type MaybeChunked, runSync } from "../chunked.ts";
import type { Change, SubsystemName } from "../model/change.ts";
import type { Degradation } from "../model/degradation.ts";
import type { Kind, ObjectId } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import type { Program } from "../model/program.ts";
import type { Reason } from "../model/status.ts";
import type { Phase } from "./phases.ts";
import type { KernelFacts, PlanInput } from "./plan-input.ts";

/** Another subsystem, or the ledger: what could not be written there must not be done. */
export type StepNeed = SubsystemName | "ledger";

/** One thing to do. */
export interface Step<Payload = unknown> {
  readonly phase: Phase;
  /** The step for people. Several if one transaction makes several changes, none if the step only checks something. */
  readonly changes: readonly Change[];
  /** What the subsystem needs to apply the step. */
  readonly payload: Payload;
  /**
   * The step is skipped if one of these could not be read, or if a write of it failed as a whole in the same pass. A
   * single step that the kernel refused does not count.
   */
  readonly needs?: readonly StepNeed[];
  /** For a step without changes: false if it is due only together with changes. Absent: true. */
  readonly isDue?: boolean;
}

/** What prevents a condition of an object. */
export interface Obstacle {
  /** An obstacle to `Programmed` also prevents `Ready`. */
  readonly condition: "Programmed" | "Ready";
  readonly reason: Reason;
  readonly message: string;
  /** True if no later pass removes it until something else happens. Requests that wait are answered. */
  readonly isSettled?: boolean;
}

export interface Obstacles {
  readonly objects: ReadonlyMap<ObjectId, Obstacle>;
  /** Obstacles for every object of a kind. */
  readonly kinds: ReadonlyMap<Kind, Obstacle>;
}

export const noObstacles: Obstacles = { objects: new Map(), kinds: new Map() };

/** What a subsystem would do, and the obstacles it finds. On its own result it plans no changes. */
export interface SubsystemPlan<Payload = unknown> {
  readonly steps: readonly Step<Payload>[];
  /** Computed at first use, once. */
  readonly obstacles: () => Obstacles;
  /** The same in chunks, between which the event loop can run. */
  readonly obstaclesChunked: () => Chunked<Obstacles>;
  readonly notices: readonly Degradation[];
  /** True if work is left that no change shows. */
  readonly isUnfinished?: boolean;
}

/** Plans one subsystem. `Observed` is what its driver reads, `Payload` what its driver writes. */
export interface SubsystemPlanner<Observed = unknown, Payload = unknown> {
  readonly name: SubsystemName;
  /** What it reads, as text after "cannot read": `routes`. */
  readonly title: string;
  /** The kinds that cannot be Ready while the subsystem cannot be read. */
  readonly serves: readonly Kind[];
  plan(input: PlanInput, observed: Observed): SubsystemPlan<Payload>;
  /** The same in chunks, between which the event loop can run. Only needed if {@link plan} takes long. */
  planChunked?(input: PlanInput, observed: Observed): Chunked<SubsystemPlan<Payload>>;
  /**
   * The obstacles for the objects of a part of the program, on the same reading. Only needed if objects have their own
   * obstacles.
   */
  obstaclesTo?(part: Program, observed: Observed, facts: KernelFacts): Obstacles;
  /**
   * The same plan where only Eips were added since the last one: `program` has all of them, and may lack changes of other
   * kinds. Absent: added Eips change nothing of the plan but the objects of their part.
   */
  planEips?(program: Program, observed: Observed, facts: KernelFacts): SubsystemPlan<Payload>;
  /** The reading with a later reading of the network in it. Absent: it contains none. */
  withNetwork?(observed: Observed, network: ObservedNetwork): Observed;
  /** All parts of the input that {@link plan} reads. If none of them changed, the last plan is still valid. */
  reads(input: PlanInput): readonly unknown[];
}

/** A plan whose obstacles are computed at first use. */
export function subsystemPlan<Payload>(
  steps: readonly Step<Payload>[],
  obstacles: () => MaybeChunked<Obstacles> = () => noObstacles,
  more: Pick<Partial<SubsystemPlan<Payload>>, "notices" | "isUnfinished"> = {},
): SubsystemPlan<Payload> {
  let known: Obstacles | undefined;
  function* obstaclesChunked(): Chunked<Obstacles> {
    known ??= yield* inParts(obstacles());
    return known;
  }
  return {
    steps,
    obstacles: () => runSync(obstaclesChunked()),
    obstaclesChunked,
    notices: [],
    ...more,
  };
}

/** Obstacles of one type for `objects`, each with its message. */
export function obstaclesOf(...given: Parameters<typeof obstaclesOfChunked>): Obstacles {
  return runSync(obstaclesOfChunked(...given));
}

/** Takes a few milliseconds. */
const namedAtOnce = 5_000;

/** The same in parts. */
export function* obstaclesOfChunked(
  condition: Obstacle["condition"],
  reason: Reason,
  objects: ReadonlyMap<ObjectId, string>,
): Chunked<Obstacles> {
  if (objects.size === 0) return noObstacles;
  const named = new Map<ObjectId, Obstacle>();
  yield* forEachChunked(objects, namedAtOnce, ([id, message]) => {
    named.set(id, { condition, reason, message });
  });
  return { objects: named, kinds: new Map() };
}
