/** Rate limits: queueing disciplines and the table that puts packets into their classes. */
import type { QosObserved } from "../../../lib/plan/qos/observed.ts";
import { qosPlanner } from "../../../lib/plan/qos/planner.ts";
import { changesOf, type QosStep } from "../../../lib/plan/qos/steps.ts";
import type { QosDriver } from "../../kernel/drivers.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";

export function qosSubsystem(driver: QosDriver): Subsystem<QosObserved, QosStep> {
  return {
    planner: qosPlanner,
    observe: (signal) => driver.observe(signal),
    forget: () => driver.forget?.(),
    facts: ({ table }) => ({
      holdsLimits: table?.definition?.some((line) => line.startsWith("rule ")) ?? false,
    }),
    isCurrent: (signal) => driver.isCurrent(signal),
    async apply(steps, _context, signal) {
      const failures = await driver.apply(
        steps.map(({ payload }) => payload),
        signal,
      );
      return failures.map(({ step, code, message }): StepFailure => {
        const [change] = changesOf(step);
        return {
          ...(change?.object !== undefined && { object: change.object }),
          ...(change !== undefined && { text: change.text }),
          code,
          message,
        };
      });
    },
  };
}
