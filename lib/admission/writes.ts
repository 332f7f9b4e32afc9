/**
 * What every write shares: the context it is judged in, its precondition, and the decision it comes to. The calls
 * themselves are next door, one a file, all of the shape `(state, request, context) → Decision`. They are
 * pure and are run on the newest state, alone; what they refuse they throw as a `GatewayError`.
 */

import type { Facts } from "../kinds/facts.ts";
import { GatewayError } from "../model/errors.ts";
import type { ObjectId } from "../model/names.ts";
import type { Instant, State, StateChange } from "../state/state.ts";

export interface WriteContext {
  readonly now: Instant;
  /** What was observed last of the gateway itself. */
  readonly facts: Facts;
  /** True while owned state lives in the kernel that no accepted set answers for: only a full set passes. */
  readonly isUnadopted: boolean;
  /** A collision-free digest of a text, such as SHA-256 in hex. */
  readonly digest: (text: string) => string;
}

/** An `If-Match` header: `"*"`, or the store's revisions that it names (none where no tag in it is one of ours). */
export type IfMatch = "*" | readonly number[];

export interface Decision {
  /** What is to be made durable together; empty where nothing changes. */
  readonly changes: readonly StateChange[];
  /** What the write wrote and the state now holds, changed or not: what `?wait` waits for. */
  readonly touched: readonly ObjectId[];
  /** What it removed: what `?wait` waits to be gone from the kernel. */
  readonly removed: readonly ObjectId[];
  /** A full set that was accepted before: nothing but leases changes. */
  readonly isReplay: boolean;
  /** To be thrown once the changes are durable: the call is refused and yet leaves something behind. */
  readonly refusal?: GatewayError;
}

/**
 * Throws `precondition-failed` where `ifMatch` is given and does not hold. An unset store matches no `"*"`.
 *
 * @returns true where a named revision matched: then the writer has seen the present state.
 */
export function checkIfMatch(state: State, ifMatch: IfMatch | undefined): boolean {
  if (ifMatch === undefined) return false;
  const { revision } = state.desired;
  if (ifMatch === "*" ? state.isSet : ifMatch.includes(revision)) return ifMatch !== "*";
  throw new GatewayError("precondition-failed", `the store is at revision ${revision}`, {
    details: { revision },
  });
}

/** Throws `not-adopted` while the gateway's live state was not adopted: what a write leaves out would be removed. */
export function checkAdopted(context: WriteContext): void {
  if (!context.isUnadopted) return;
  throw new GatewayError(
    "not-adopted",
    "the kernel holds NAT state that this agent's store does not know; send a full set first",
  );
}
