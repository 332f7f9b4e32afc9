/**
 * The verdicts of a pass: what may be said of each object, given what was read back after the last write.
 *
 * Ready is earned, never assumed: an object is programmed when planning again, on what was read back, asks for
 * nothing on its behalf; it is Ready when besides its Eip is, nobody else claims that, packets are forwarded, and no flow
 * contradicts it.
 */

import type { Compiled } from "../compile/compile.ts";
import type { Block } from "../kinds/compilation.ts";
import { recordOf } from "../kinds/registry.ts";
import { type Kind, kinds, type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import type { Claim, Verdict } from "../model/status.ts";
import type { Desired } from "../state/desired.ts";
import { objectsOf } from "../state/desired.ts";

export interface Evidence {
  /** What the kernel lacks of each object, in readable words; what is wholly there is absent. */
  readonly missing: ReadonlyMap<ObjectId, string>;
  /** Eips that the kernel holds and that somebody else claims on the wire, with who. */
  readonly contested: ReadonlyMap<ObjectId, string>;
  /** Objects that a live flow still contradicts, with how. */
  readonly contradicted: ReadonlyMap<ObjectId, string>;
  readonly isForwarding: boolean;
  /** The gate is closed: whatever is programmed, nothing leaves the VPC. */
  readonly isHeldBack: boolean;
}

/** @returns a verdict for every object of `desired` */
export function judge(
  desired: Desired,
  compiled: Compiled,
  evidence: Evidence,
): ReadonlyMap<ObjectId, Verdict> {
  const verdicts = new Map<ObjectId, Verdict>();
  for (const kind of kinds) judgeKind(kind, desired, compiled, evidence, verdicts);
  return verdicts;
}

function judgeKind<K extends Kind>(
  kind: K,
  desired: Desired,
  compiled: Compiled,
  evidence: Evidence,
  verdicts: Map<ObjectId, Verdict>,
): void {
  const { eipOf, isTranslating } = recordOf(kind);
  for (const { spec } of objectsOf(desired, kind).values()) {
    const id = objectId(kind, spec.name);
    verdicts.set(id, verdictOf(id, eipOf?.(spec), isTranslating, compiled, evidence, verdicts));
  }
}

/** @param eip the name of the Eip that the object refers to */
function verdictOf(
  id: ObjectId,
  eip: ObjectName | undefined,
  isTranslating: boolean,
  compiled: Compiled,
  evidence: Evidence,
  verdicts: ReadonlyMap<ObjectId, Verdict>,
): Verdict {
  const block = compiled.blocked.get(id);
  if (block !== undefined) return blockedVerdict(block);
  const missing = evidence.missing.get(id);
  const programmed = missing === undefined ? programmedClaim : no("Pending", missing);
  const obstacle =
    (missing === undefined ? undefined : programmed) ??
    shadowObstacle(compiled.shadowed.get(id)) ??
    claimObstacle(evidence.contested.get(id)) ??
    (eip === undefined ? undefined : eipObstacle(eip, verdicts)) ??
    (isTranslating ? forwardingObstacle(evidence) : undefined) ??
    flowObstacle(evidence.contradicted.get(id));
  if (obstacle !== undefined) {
    const isEipSettled = eip !== undefined && verdicts.get(objectId("eip", eip))?.isSettled === true;
    const isSettled =
      missing === undefined && (isEipSettled || evidence.contested.has(id) || compiled.shadowed.has(id));
    return { accepted: acceptedClaim, programmed, ready: obstacle, isSettled };
  }
  const idle = compiled.idle.get(id);
  return idle === undefined ? allIsWell : { ...allIsWell, ready: yes(idle.reason, idle.message) };
}

function blockedVerdict(block: Block): Verdict {
  const claim = no(block.reason, block.message);
  const accepted = block.isAccepted ? acceptedClaim : claim;
  return { accepted, programmed: claim, ready: claim, isSettled: block.reason !== "Pending" };
}

/** A FIP takes every packet of its EIP before a DNAT is asked. */
function shadowObstacle(fip: ObjectId | undefined): Claim | undefined {
  return fip === undefined ? undefined : no("Shadowed", `${fip} takes all packets of its EIP`);
}

function claimObstacle(who: string | undefined): Claim | undefined {
  return who === undefined ? undefined : no("AddressConflict", who);
}

function eipObstacle(eip: ObjectName, verdicts: ReadonlyMap<ObjectId, Verdict>): Claim | undefined {
  const verdict = verdicts.get(objectId("eip", eip));
  if (verdict?.ready.holds) return undefined;
  return no("EipNotReady", `eip ${eip} is not ready: ${verdict?.ready.message ?? "it is not there"}`);
}

function forwardingObstacle({ isForwarding, isHeldBack }: Evidence): Claim | undefined {
  if (!isForwarding) return forwardingOff;
  return isHeldBack ? heldBack : undefined;
}

function flowObstacle(how: string | undefined): Claim | undefined {
  return how === undefined ? undefined : no("FlowsRemain", how);
}

function yes(reason: Claim["reason"], message = ""): Claim {
  return { holds: true, reason, message };
}

function no(reason: Claim["reason"], message: string): Claim {
  return { holds: false, reason, message };
}

const acceptedClaim = yes("Accepted");
const programmedClaim = yes("Programmed");
/** One for all: of 10,000 objects it is the verdict on almost every one. */
const allIsWell: Verdict = {
  accepted: acceptedClaim,
  programmed: programmedClaim,
  ready: yes("Ready"),
  isSettled: false,
};
const forwardingOff = no("ForwardingOff", "net.ipv4.ip_forward is 0 and could not be set");
const heldBack = no("Pending", "nothing leaves the VPC before everything is verified");
