/** Why a pass has to be a full one. */
import { eipAddressesOf } from "../../../lib/compile/references.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import type { PassResult } from "../pass/pass-result.ts";
import type { PassRequest } from "../pass-request.ts";

/** For the log. */
export type Reason = string;

/**
 * Why a full pass is needed, as far as this is known before anything is read or compiled. `undefined`: an incremental
 * pass can be tried.
 *
 * @param base the result of the last pass
 * @param written the objects that were written since that pass began; `undefined`: too many, or the gateway was written
 */
export function whyFull(
  { reasons, isResync }: PassRequest,
  base: PassResult | undefined,
  written: ReadonlySet<ObjectId> | undefined,
): Reason | undefined {
  if (base === undefined) return "it is the first pass";
  if (isResync) return "a resync is due";
  const other = reasons.find((reason) => reason !== "write");
  if (other !== undefined) return `not only a write woke it: ${other}`;
  if (written === undefined) return "too many objects were written, or the gateway";
  if (![...written].every(canBePlannedAlone)) return "objects other than Eips, FIPs and DNATs were written";
  if (namesContested(written, base)) return "another host holds the address of a written Eip";
  return isAtRest(base) ? undefined : "the last pass left something to do or to wait for";
}

/** FIPs and DNATs have rules of their own, and so have added Eips. Other kinds change routes or shared rules. */
function canBePlannedAlone(id: ObjectId): boolean {
  const { kind } = parseObjectId(id);
  return kind === "eip" || kind === "fip" || kind === "dnat";
}

/** Only a full pass ends the probes for an address that is not wanted any more. */
function namesContested(written: ReadonlySet<ObjectId>, { state, planAfter }: PassResult): boolean {
  const { addressConflicts } = planAfter.context;
  if (addressConflicts.size === 0) return false;
  return [...eipAddressesOf(state.desired, [...written])].some((address) => addressConflicts.has(address));
}

/** Nothing is left to do, to wait for or to find out. */
function isAtRest({ state, isClean, hasVerifiedRules, planAfter, failures, snapshot }: PassResult): boolean {
  const { quarantined, probing } = planAfter.compileContext;
  return (
    // A full pass also writes the kernel's marker that the store is set.
    state.isSet &&
    isClean &&
    hasVerifiedRules &&
    failures.length === 0 &&
    snapshot.unread.size === 0 &&
    !snapshot.facts.isPreviousPresent &&
    quarantined.size === 0 &&
    (probing?.size ?? 0) === 0
  );
}
