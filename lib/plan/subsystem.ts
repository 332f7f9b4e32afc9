/**
 * The pure half of a subsystem: how it plans. Its other half, which reads and writes the kernel, is
 * agent/reconciler/subsystem.ts.
 */
import type { Chunked } from "../chunked.ts";
import type { Change, SubsystemName } from "../model/change.ts";
import type { Degradation } from "../model/degradation.ts";
import type { Kind, ObjectId } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import type { Reason } from "../model/status.ts";
import type { KernelFacts, PlanInput } from "./plan-input.ts";

/**
 * The order that the kernel demands. What closes the gate comes first; rules come before addresses, since an address whose
 * rules come later lets the gateway's own stack reset live connections; flows are ended after the rules commit, or the old
 * rules would make them anew; addresses go last. What opens the gate, and what clears up after another dataplane, is planned
 * once all else is verified.
 */
export const phases = [
  "gate",
  "rules",
  "sysctls",
  "addresses",
  "routes",
  "flows",
  "removals",
  "opening",
  "cleanup",
] as const;
export type Phase = (typeof phases)[number];

/** Something to be done, once. */
export interface Step<Payload = unknown> {
  readonly phase: Phase;
  /** The step for people; several where they are written in one transaction, none where it only looks for something. */
  readonly changes: readonly Change[];
  /** What the subsystem itself needs to apply it. */
  readonly payload: Payload;
  /** Left out while one of these could not be read, or failed in the same pass. */
  readonly needs?: readonly SubsystemName[];
  /** Of a step without changes: false where it is due only beside changes. Absent: true. */
  readonly isDue?: boolean;
}

/** What keeps objects from being what was asked for. */
export interface Obstacle {
  /** `Programmed` also keeps an object from being Ready. */
  readonly condition: "Programmed" | "Ready";
  readonly reason: Reason;
  readonly message: string;
  /** No later pass removes it without something else happening first: who waits is answered. */
  readonly isSettled?: boolean;
}

export interface Obstacles {
  readonly objects: ReadonlyMap<ObjectId, Obstacle>;
  /** Of every object of a kind. */
  readonly kinds: ReadonlyMap<Kind, Obstacle>;
}

export const noObstacles: Obstacles = { objects: new Map(), kinds: new Map() };

/** What a subsystem would do, and what it finds in the way. On its own result it plans no changes. */
export interface SubsystemPlan<Payload = unknown> {
  readonly steps: readonly Step<Payload>[];
  /** Computed when first asked for, and once. */
  readonly obstacles: () => Obstacles;
  readonly notices: readonly Degradation[];
  /** Something is left undone that no change tells of. */
  readonly isUnfinished?: boolean;
}

/** Plans one subsystem. `Observed` is what its driver reads, `Payload` what its driver writes. */
export interface SubsystemPlanner<Observed = unknown, Payload = unknown> {
  readonly name: SubsystemName;
  /** The kinds that cannot be Ready while it cannot be read. */
  readonly serves: readonly Kind[];
  plan(input: PlanInput, observed: Observed): SubsystemPlan<Payload>;
  /** The same in parts that the event loop can run between; only where {@link plan} takes long. */
  planChunked?(input: PlanInput, observed: Observed): Chunked<SubsystemPlan<Payload>>;
  /** What stands in the way of the objects of a part of the program, on the same reading; only where an object has its own. */
  obstaclesTo?(part: Program, observed: Observed, facts: KernelFacts): Obstacles;
  /** All of the input that {@link plan} looks at: where none of it changed, the last plan is still right. */
  reads(input: PlanInput): readonly unknown[];
}

/** A plan whose obstacles are computed when they are first asked for. */
export function subsystemPlan<Payload>(
  steps: readonly Step<Payload>[],
  obstacles: () => Obstacles = () => noObstacles,
  more: Omit<Partial<SubsystemPlan<Payload>>, "steps" | "obstacles"> = {},
): SubsystemPlan<Payload> {
  let known: Obstacles | undefined;
  return {
    steps,
    obstacles: () => {
      known ??= obstacles();
      return known;
    },
    notices: [],
    ...more,
  };
}

/** What stands in the way of `objects`, each in words, as one kind of obstacle. */
export function obstaclesOf(
  condition: Obstacle["condition"],
  reason: Reason,
  objects: ReadonlyMap<ObjectId, string>,
): Obstacles {
  if (objects.size === 0) return noObstacles;
  const named = new Map<ObjectId, Obstacle>();
  for (const [id, message] of objects) named.set(id, { condition, reason, message });
  return { objects: named, kinds: new Map() };
}
