/**
 * Applies steps in the order of their phases, each subsystem separately: one that fails or hangs delays only what needs
 * it. Reports what was written and what was not.
 */
import { type Chunked, filterChunked, forEachChunked } from "../../../lib/chunked.ts";
import type { Change, SubsystemName } from "../../../lib/model/change.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import { type Phase, phases } from "../../../lib/plan/phases.ts";
import type { PlannedStep } from "../../../lib/plan/plan.ts";
import type { Step, StepNeed } from "../../../lib/plan/subsystem.ts";
import { runYielding } from "../../run-yielding.ts";
import { type ApplyContext, asFailures, type PassFailure, type Subsystem } from "../subsystem.ts";
import type { TimeLimits } from "../time-limits.ts";

export interface Applied {
  /** What was written, without what was refused. */
  readonly changes: readonly Change[];
  readonly failures: readonly PassFailure[];
  /** The subsystems whose steps ran, whatever came of it. */
  readonly touched: ReadonlySet<SubsystemName>;
  /** A step without changes failed: only its failure shows that it was not done. */
  readonly hasFailedStepWithoutChange: boolean;
}

export interface ApplyOptions {
  readonly context: Pick<ApplyContext, "state" | "plan">;
  /** Reads a subsystem again and plans it with more objects left out. */
  readonly replan: (name: SubsystemName, without: ReadonlySet<ObjectId>) => Promise<readonly Step[]>;
  /** The subsystems that could not be read, and the ledger if it could not be written. Steps that need them are skipped. */
  readonly unavailable: ReadonlySet<StepNeed>;
  /** True unless an earlier pass did all work for this program. If true, every step is due, with or without changes. */
  readonly hasOpenWork: boolean;
  readonly timeLimits: Pick<TimeLimits, "run">;
}

export async function applySteps(
  steps: readonly PlannedStep[],
  subsystems: readonly Subsystem[],
  { context, replan, unavailable, hasOpenWork, timeLimits }: ApplyOptions,
  signal: AbortSignal,
): Promise<Applied> {
  const isAnyPlanned = steps.some(({ changes }) => changes.length > 0);
  const isDue = ({ isDue = true, changes }: Step) =>
    changes.length > 0 || isDue || hasOpenWork || isAnyPlanned;
  const groups = await runYielding(byPhaseAndSubsystem(steps));
  let changes: readonly Change[] = [];
  const failures: PassFailure[] = [];
  const touched = new Set<SubsystemName>();
  /** `unavailable`, and the subsystems of which a write failed as a whole. */
  const broken = new Set(unavailable);
  let hasFailedStepWithoutChange = false;

  for (const phase of phases) {
    for (const subsystem of subsystems) {
      const { name } = subsystem.planner;
      const mine = groups.get(groupKey(phase, name));
      if (mine === undefined) continue;
      // If the kernel refused a step, removals that make room for it wait.
      const refused = new Set(
        phase === "removals"
          ? failures.filter(({ stage }) => stage === name).map(({ object }) => object)
          : [],
      );
      refused.delete(undefined);
      const canRun = ({ needs = [], changes: own }: PlannedStep) =>
        !needs.some((need) => broken.has(need)) &&
        (refused.size === 0 || !own.some(({ object }) => refused.has(object)));
      const runnable = await runYielding(
        filterChunked(mine, lookedAtOnce, (step) => isDue(step) && canRun(step)),
      );
      if (runnable.length === 0) continue;
      touched.add(name);
      const own = runnable.flatMap((step) => step.changes);
      const apply = {
        ...context,
        changes: [...changes, ...own],
        replan: (without: ReadonlySet<ObjectId>) => replan(name, without),
      };
      const failed = await timeLimits.run(
        `writing ${name}`,
        (within) => asFailures(() => subsystem.apply(runnable, apply, within)),
        baseTimeLimitMs + own.length * timeLimitPerChangeMs,
        signal,
        ({ code, message }) => [{ code, message }],
      );
      for (const failure of failed) failures.push({ ...failure, stage: name });
      if (failed.some(({ object, text }) => object === undefined && text === undefined)) broken.add(name);
      if (failed.length > 0 && own.length === 0) hasFailedStepWithoutChange = true;
      changes = [...changes, ...written(own, failed, broken.has(name))];
    }
  }
  return { changes, failures, touched, hasFailedStepWithoutChange };
}

/** Maximum time of a write that does not hang, on a busy machine: a base, and an addition per change. */
const baseTimeLimitMs = 10_000;
const timeLimitPerChangeMs = 2;

/** Takes a few milliseconds. */
const lookedAtOnce = 10_000;

function* byPhaseAndSubsystem(
  steps: readonly PlannedStep[],
): Chunked<ReadonlyMap<string, readonly PlannedStep[]>> {
  const groups = new Map<string, PlannedStep[]>();
  yield* forEachChunked(steps, lookedAtOnce, (step) => {
    const key = groupKey(step.phase, step.subsystem);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [step]);
    else group.push(step);
  });
  return groups;
}

function groupKey(phase: Phase, subsystem: SubsystemName): string {
  return `${phase} ${subsystem}`;
}

function written(
  changes: readonly Change[],
  failures: readonly Pick<PassFailure, "object" | "text">[],
  isBroken: boolean,
): readonly Change[] {
  if (isBroken) return [];
  if (failures.length === 0) return changes;
  const texts = new Set(failures.map(({ text }) => text));
  const objects = new Set(failures.filter(({ text }) => text === undefined).map(({ object }) => object));
  return changes.filter(
    ({ text, object }) => !texts.has(text) && (object === undefined || !objects.has(object)),
  );
}

/** The result of two calls, one after the other. */
export function joined(one: Applied, other: Applied): Applied {
  return {
    changes: [...one.changes, ...other.changes],
    failures: [...one.failures, ...other.failures],
    touched: one.touched.union(other.touched),
    hasFailedStepWithoutChange: one.hasFailedStepWithoutChange || other.hasFailedStepWithoutChange,
  };
}
