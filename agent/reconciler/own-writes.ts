/** Whether an event comes from the agent's own write: the kernel reports writes of all programs alike. */

import { GatewayError } from "../../lib/model/errors.ts";
import type { ReachObserved } from "../../lib/plan/reach/planner.ts";
import type { NetworkDriver } from "../kernel/drivers.ts";
import type { PassResult } from "./pass/pass-result.ts";
import type { Subsystem } from "./subsystem.ts";
import type { TimeLimits } from "./time-limits.ts";

export interface OwnWritesDeps {
  readonly subsystems: readonly Pick<Subsystem, "isCurrent">[];
  readonly timeLimits: Pick<TimeLimits, "wait">;
}

/** For reading the ruleset's generation: takes no time unless a reading or a write hangs. */
const timeLimitMs = 1_000;
const neverAborted = new AbortController().signal;

/**
 * True if the kernel proves that nobody but the agent wrote rules since the reading of the last pass. Call it only
 * while no pass is running.
 *
 * @param last the result of the last pass
 */
export async function areWritesOwn(
  { subsystems, timeLimits }: OwnWritesDeps,
  last: Pick<PassResult, "planAfter"> | undefined,
): Promise<boolean> {
  // Another program may have written while the last pass read back: the pass saw it and could not repair it.
  if (last === undefined || last.planAfter.changes.length > 0) return false;
  try {
    const proofs = subsystems.map(async ({ isCurrent }) => (await isCurrent?.(neverAborted)) ?? true);
    const isProved = Promise.all(proofs).then((all) => !all.includes(false));
    return await timeLimits.wait(isProved, timeLimitMs, () => false);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return false;
  }
}

export interface OwnNetworkDeps {
  readonly network: Pick<NetworkDriver, "observe" | "observePaths">;
  readonly timeLimits: Pick<TimeLimits, "wait">;
}

/** Whether a pass wrote addresses or routes. */
export function hasWrittenNetwork({ changes }: Pick<PassResult, "changes">): boolean {
  return changes.some(({ subsystem }) => subsystem === "address" || subsystem === "route");
}

/** The event about an own write arrives within this time after its pass. */
const echoMs = 1_000;

/**
 * True if the last pass left nothing to do, and addresses, routes and policy rules are as last read back. Then no other program
 * wrote, or it undid its own write. If the event cannot be about an own write, nothing is read, so that the repair of
 * another program's write does not wait. Call it only while no pass is running.
 *
 * @param last the result of the last pass
 * @param agoMs milliseconds since the end of the last pass that wrote addresses or routes
 */
export async function isNetworkAsRead(
  { network, timeLimits }: OwnNetworkDeps,
  last: Pick<PassResult, "planAfter" | "snapshot" | "failures"> | undefined,
  agoMs: number,
): Promise<boolean> {
  if (last === undefined || last.planAfter.changes.length + last.failures.length > 0) return false;
  if (agoMs > echoMs) return false;
  const { facts, observed, unread } = last.snapshot;
  const reach = observed.get("reach") as ReachObserved | undefined;
  if (reach === undefined || unread.size > 0) return false;
  // Unchanged readings keep their identity.
  const read = async () => {
    const now = await network.observe(neverAborted);
    return now === facts.network && (await network.observePaths(now, neverAborted)) === reach.paths;
  };
  try {
    return await timeLimits.wait(read(), timeLimitMs, () => false);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return false;
  }
}
