/** The guard of the API: packets to its ports that come by a way that nobody configured are dropped. */
import {
  type ApiGuardObserved,
  type ApiGuardStep,
  apiGuardPlanner,
} from "../../../lib/plan/api-guard/planner.ts";
import type { ApiGuardDriver } from "../../kernel/drivers.ts";
import { asFailures, type Subsystem } from "../subsystem.ts";

export function apiGuardSubsystem(driver: ApiGuardDriver): Subsystem<ApiGuardObserved, ApiGuardStep> {
  return {
    planner: apiGuardPlanner,
    observe: (signal) => driver.observe(signal),
    isCurrent: (signal) => driver.isCurrent(signal),
    apply: (steps, _context, signal) =>
      asFailures(async () => {
        for (const { payload } of steps) await driver.write(payload, signal);
        return [];
      }),
  };
}
