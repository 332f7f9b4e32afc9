/** What another dataplane left in this namespace, and how all of it goes. */
import type { RulesPlan } from "./rules-planner.ts";

/** Pure. `Observed` and `Payload` belong to the dataplane. */
export interface RemovalPlanner<Observed = unknown, Payload = unknown> {
  /** True where it holds anything of an object: somebody may rely on it. */
  holdsObjects(observed: Observed): boolean;
  /** Takes out all that it owns. On its own result it plans nothing. */
  plan(observed: Observed): RulesPlan<Payload>;
}
