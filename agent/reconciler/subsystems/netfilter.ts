/** Other netfilter rules that packets pass: repairs shared chains, and names foreign rules. */

import type { NetfilterObserved } from "../../../lib/plan/netfilter/observed.ts";
import { createNetfilterPlanner } from "../../../lib/plan/netfilter/planner.ts";
import type { NetfilterDriver } from "../../kernel/drivers.ts";
import type { StepFailure, Subsystem } from "../subsystem.ts";

export function netfilterSubsystem(driver: NetfilterDriver): Subsystem<NetfilterObserved, string> {
  let last: NetfilterObserved | undefined;
  return {
    planner: createNetfilterPlanner(),
    async observe(signal) {
      last = await driver.observe(signal);
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
