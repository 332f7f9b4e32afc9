/** Tells the agent's own writes of rules, which the kernel reports like those of other programs. */

import { GatewayError } from "../../lib/model/errors.ts";
import type { PassResult } from "./pass/pass-result.ts";
import type { Patience } from "./patience.ts";
import type { Subsystem } from "./subsystem.ts";

export interface OwnWritesDeps {
  readonly subsystems: readonly Pick<Subsystem, "isCurrent">[];
  readonly patience: Pick<Patience, "wait">;
}

/** For reading the ruleset's generation: takes no time unless a reading or a write hangs. */
const patienceMs = 1_000;
const neverAborted = new AbortController().signal;

/**
 * True if the kernel proves that nobody but the agent wrote rules since the reading of the last pass. Call it only
 * while no pass is running.
 *
 * @param last the result of the last pass
 */
export async function areWritesOwn(
  { subsystems, patience }: OwnWritesDeps,
  last: Pick<PassResult, "planAfter"> | undefined,
): Promise<boolean> {
  // Another program may have written while the last pass read back: the pass saw it and could not repair it.
  if (last === undefined || last.planAfter.changes.length > 0) return false;
  try {
    const proofs = subsystems.map(async ({ isCurrent }) => (await isCurrent?.(neverAborted)) ?? true);
    const isProved = Promise.all(proofs).then((all) => !all.includes(false));
    return await patience.wait(isProved, patienceMs, () => false);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return false;
  }
}
