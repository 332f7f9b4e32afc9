/** Plans the removal of what another dataplane left in this namespace. */
import type { RulesPlan } from "./rules-planner.ts";

/** Pure. `Observed` and `Payload` belong to the dataplane. */
export interface RemovalPlanner<Observed = unknown, Payload = unknown> {
  /** True if it has anything of an object, which may be in use. */
  holdsObjects(observed: Observed): boolean;
  /** Removes everything that it owns. On its own result it plans nothing. */
  plan(observed: Observed): RulesPlan<Payload>;
}
