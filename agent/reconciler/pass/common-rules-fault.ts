/** What the last pass left undone of the rules that every gateway has, whatever its objects are. */
import type { Plan } from "../../../lib/plan/plan.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { PassFailure } from "../subsystem.ts";

/**
 * Chains, guard and gates. Steps of other subsystems may keep failing because of the environment, such as a route through a
 * missing interface.
 */
const stages: ReadonlySet<string> = new Set(["rule", "gate", "guard"]);

export interface Concluded {
  readonly snapshot: Pick<Snapshot, "unread">;
  readonly planAfter: Pick<Plan, "changes">;
  readonly failures: readonly Pick<PassFailure, "stage" | "object" | "message">[];
}

/** Why chains, guard or gates are not as they should be: the kernel's words, or what is missing. `undefined`: they are. */
export function commonRulesFault({ snapshot, planAfter, failures }: Concluded): string | undefined {
  for (const name of ["rule", "gate"] as const) {
    const error = snapshot.unread.get(name);
    if (error !== undefined) return error.message;
  }
  const missing = planAfter.changes.find(
    ({ object, action, subsystem }) => object === undefined && action !== "remove" && stages.has(subsystem),
  );
  if (missing === undefined) return undefined;
  const failure = failures.find(({ object, stage }) => object === undefined && stages.has(stage));
  return failure?.message ?? `missing: ${missing.text}`;
}
