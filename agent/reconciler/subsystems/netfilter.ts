/** Other netfilter rules that packets pass: repairs shared chains, and names foreign rules. */

import type { NetfilterObserved } from "../../../lib/plan/netfilter/observed.ts";
import { createNetfilterPlanner } from "../../../lib/plan/netfilter/planner.ts";
import type { NetfilterDriver } from "../../kernel/drivers.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";

/** @param observe the driver's, which other subsystems may share */
export function netfilterSubsystem(
  driver: NetfilterDriver,
  observe = (signal: AbortSignal) => driver.observe(signal),
): Subsystem<NetfilterObserved, string> {
  let last: NetfilterObserved | undefined;
  return {
    planner: createNetfilterPlanner(),
    async observe(signal) {
      last = await observe(signal);
      return last;
    },
    forget: () => driver.forget?.(),
    isCurrent: async (signal) => (await driver.observe(signal)) === last,
    async apply(steps): Promise<readonly StepFailure[]> {
      for (const { payload } of steps) await driver.repair(payload);
      return [];
    },
  };
}
