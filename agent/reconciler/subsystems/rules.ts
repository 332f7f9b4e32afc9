/**
 * The rules of the dataplane in use, and guard and gate, which are in the same ruleset. If the kernel refuses rules,
 * bisecting finds the object that it rejects, and all others are programmed at once.
 */
import type { Change } from "../../../lib/model/change.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import { gateSubsystemPlanner } from "../../../lib/plan/gate/planner.ts";
import { rulesSubsystemPlanner } from "../../../lib/plan/rules.ts";
import type { Step } from "../../../lib/plan/subsystem.ts";
import type { Dataplane } from "../../kernel/drivers.ts";
import { runYielding } from "../../run-yielding.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";
import { bisect } from "./bisect.ts";
import { shareReading } from "./share-reading.ts";
import { writeRules } from "./write-rules.ts";

export function rulesSubsystems<Observed, Payload>(
  dataplane: Dataplane<Observed, Payload>,
): { readonly rule: Subsystem<Observed, Payload>; readonly gate: Subsystem<Observed, Payload> } {
  const observe = shareReading(async (signal) => {
    const observed = await dataplane.driver.observe(signal);
    const { prepare } = dataplane.planner;
    if (prepare !== undefined) await runYielding(prepare(observed));
    return observed;
  });
  return { rule: rulesSubsystem(dataplane, observe), gate: gateSubsystem(dataplane, observe) };
}

type Observe<Observed> = (signal: AbortSignal) => Promise<Observed>;

function rulesSubsystem<Observed, Payload>(
  dataplane: Dataplane<Observed, Payload>,
  observe: Observe<Observed>,
): Subsystem<Observed, Payload> {
  const { planner } = dataplane;
  const write = writerOf(dataplane);
  return {
    planner: rulesSubsystemPlanner(planner),
    observe,
    forget: () => dataplane.driver.forget?.(),
    isCurrent: async (signal) => (await dataplane.driver.incremental?.verified(signal)) !== undefined,
    facts: (observed) => ({
      eipsNamedByRules: planner.eipsNamed(observed),
      ruleCount: planner.countRules(observed),
      holdsObjects: planner.holdsObjects(observed),
      isPristine: planner.isPristine(observed),
      netfilterContext: planner.netfilterContext(observed),
    }),
    async apply(steps, { replan }, signal) {
      const refusal = await write(steps, () => replan(new Set()), signal);
      if (refusal === undefined) return [];
      const candidates = candidatesOf(steps.flatMap(({ changes }) => changes));
      const rejected = await bisect(candidates, refusal, async (without) =>
        write(await replan(without), () => replan(without), signal),
      );
      return Array.from(rejected, ([object, message]): StepFailure => {
        return { object, code: "rules-refused", message, isRejected: true };
      });
    },
  };
}

/** A refused guard or gate is the fault of no object. */
function gateSubsystem<Observed, Payload>(
  dataplane: Dataplane<Observed, Payload>,
  observe: Observe<Observed>,
): Subsystem<Observed, Payload> {
  const { planner } = dataplane;
  const write = writerOf(dataplane);
  return {
    planner: gateSubsystemPlanner(planner),
    observe,
    facts: (observed) => ({
      wasSet: planner.wasSet(observed),
      isGateClosed: planner.isGateClosed(observed),
      isBfdGateClosed: planner.isBfdGateClosed(observed),
      isGateSelective: planner.isGateSelective(observed),
    }),
    async apply(steps, { replan }, signal) {
      const refusal = await write(steps, () => replan(new Set()), signal);
      return refusal === undefined ? [] : [{ code: "rules-refused", message: refusal }];
    },
  };
}

/** @returns the kernel's error text if it refused; throws other errors */
type Write<Payload> = (
  steps: readonly Step<Payload>[],
  replan: () => Promise<readonly Step<Payload>[]>,
  signal: AbortSignal,
) => Promise<string | undefined>;

function writerOf<Observed, Payload>(dataplane: Dataplane<Observed, Payload>): Write<Payload> {
  return async (steps, replan, signal) => {
    try {
      for (const { payload } of steps)
        await writeRules(dataplane, payload, async () => (await replan())[0]?.payload, signal);
      return undefined;
    } catch (error) {
      if (error instanceof GatewayError && error.code === "rules-refused") return error.message;
      throw error;
    }
  };
}

/**
 * The objects that the kernel may have rejected: those for which the plan writes something, Eips first. Without its Eip an object
 * has no rules: if it were tried first, it would pass, and the Eip would be blamed.
 */
function candidatesOf(changes: readonly Change[]): readonly ObjectId[] {
  const eips = new Set<ObjectId>();
  const users = new Set<ObjectId>();
  for (const { object, action } of changes) {
    if (object === undefined || action === "remove") continue;
    (parseObjectId(object).kind === "eip" ? eips : users).add(object);
  }
  return [...eips, ...users];
}
