/**
 * What all writes share: their context, their precondition and their decision. The functions are in the files beside
 * this one and have the form `(state, request, context) → Decision`. They are pure, and run alone on the newest state.
 * They refuse by throwing a `GatewayError`.
 */

import type { Facts } from "../kinds/facts.ts";
import { GatewayError } from "../model/errors.ts";
import type { ObjectId } from "../model/names.ts";
import { findObject } from "../state/desired.ts";
import type { Instant, State, StateChange } from "../state/state.ts";

export interface WriteContext {
  readonly now: Instant;
  /** The last observed facts about the gateway. */
  readonly facts: Facts;
  /** True while the kernel holds owned state that no accepted set explains. Then only a full set is accepted. */
  readonly isUnadopted: boolean;
  /** A collision-free digest of a text, such as SHA-256 in hex. */
  readonly digest: (text: string) => string;
}

/** An `If-Match` header: `"*"`, or the store revisions that it names. Empty if no tag in it is one of ours. */
export type IfMatch = "*" | readonly number[];

/** What a write of one object may depend on. */
export interface Preconditions {
  readonly ifMatch?: IfMatch | undefined;
  /** `If-None-Match`, in the same form. */
  readonly ifNoneMatch?: IfMatch | undefined;
}

export interface Decision {
  /** Changes that become durable together. Empty if nothing changes. */
  readonly changes: readonly StateChange[];
  /** Objects that the write wrote and that are now stored, changed or not. `?wait` waits for them. */
  readonly touched: readonly ObjectId[];
  /** Objects that the write removed. `?wait` waits until the kernel no longer has them. */
  readonly removed: readonly ObjectId[];
  /** True for a full set that was accepted before. Only leases change. */
  readonly isReplay: boolean;
  /** An error to throw after the changes are durable: the call is refused but still changes the state. */
  readonly refusal?: GatewayError;
}

/**
 * Throws `precondition-failed` if `ifMatch` is given and does not match. `"*"` does not match an unset store.
 *
 * @returns true if a named revision matched: the writer has seen the current state
 */
export function checkIfMatch(state: State, ifMatch: IfMatch | undefined): boolean {
  if (ifMatch === undefined) return false;
  const { revision } = state.desired;
  if (ifMatch === "*" ? state.isSet : ifMatch.includes(revision)) return ifMatch !== "*";
  throw new GatewayError("precondition-failed", `the store is at revision ${revision}`, {
    details: { revision },
  });
}

/** Throws `precondition-failed` if `ifNoneMatch` names the present revision, or is `"*"` and the object exists. */
export function checkIfNoneMatch(state: State, id: ObjectId, ifNoneMatch: IfMatch | undefined): void {
  if (ifNoneMatch === undefined) return;
  const { revision } = state.desired;
  const isThere = findObject(state.desired, id) !== undefined;
  if (!(ifNoneMatch === "*" ? isThere : ifNoneMatch.includes(revision))) return;
  const what = ifNoneMatch === "*" ? `${id} exists` : `the store is at revision ${revision}`;
  throw new GatewayError("precondition-failed", what, { details: { revision } });
}

/**
 * Throws `not-adopted` while the live state is not adopted: objects that the write leaves out would be removed from the
 * kernel.
 */
export function checkAdopted(context: WriteContext): void {
  if (!context.isUnadopted) return;
  throw new GatewayError(
    "not-adopted",
    "the kernel holds NAT state that is not in this agent's store; send a full set first",
  );
}
