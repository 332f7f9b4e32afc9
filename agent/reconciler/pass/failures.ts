/** What the kernel, or the disk, refused in a pass: it is told, and all else goes on. */
import { GatewayError } from "../../../lib/model/errors.ts";
import type { ObjectId } from "../../../lib/model/names.ts";

/** A step of this pass that the kernel refused. */
export interface Refusal {
  readonly object?: ObjectId;
  readonly stage: "sysctl" | "rules" | "addresses" | "routes" | "flows" | "ledger";
  readonly code: string;
  readonly message: string;
  /** The step in the words of its tool; absent where it was no single one. */
  readonly text?: string;
}

/** Keeps a failure of the agent's own kind from ending the pass: it is told, and leaves the work to the next one. */
export async function orRefusal<T>(
  stage: Refusal["stage"],
  refusals: Refusal[],
  effect: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await effect();
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    refusals.push({ stage, code: error.code, message: error.message });
    return undefined;
  }
}
