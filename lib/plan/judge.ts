/**
 * The verdicts of a pass: the conditions of each object, from what was read back after the last write.
 *
 * An object is Programmed if no subsystem misses anything of it when it plans again on what was read back. It is Ready
 * if also nothing else is in its way and its Eip is Ready.
 */

import { type Chunked, everyNth, runSync } from "../chunked.ts";
import type { Compiled } from "../compile/compile.ts";
import type { Block } from "../kinds/compilation.ts";
import { recordOf } from "../kinds/registry.ts";
import { type Kind, kinds, type ObjectId, type ObjectName, objectId } from "../model/names.ts";
import type { ConditionValue, ObjectVerdict } from "../model/status.ts";
import { type Desired, objectsOf } from "../state/desired.ts";
import type { Obstacle, Obstacles } from "./subsystem.ts";

/** The obstacles that each subsystem found. For two obstacles to one condition, the first is reported. */
export type Verification = readonly Obstacles[];

/** @returns a verdict for every object of `desired` */
export function judge(...given: Parameters<typeof judgeChunked>): ReadonlyMap<ObjectId, ObjectVerdict> {
  return runSync(judgeChunked(...given));
}

/** Takes a few milliseconds. */
const judgedAtOnce = 1_500;

/** The same in parts. */
export function* judgeChunked(
  desired: Desired,
  compiled: Compiled,
  verification: Verification,
): Chunked<ReadonlyMap<ObjectId, ObjectVerdict>> {
  const verdicts = new Map<ObjectId, ObjectVerdict>();
  const found = verification.filter(({ objects, kinds }) => objects.size + kinds.size > 0);
  for (const kind of kinds) yield* judgeKind(kind, desired, compiled, found, verdicts);
  return verdicts;
}

function* judgeKind<K extends Kind>(
  kind: K,
  desired: Desired,
  compiled: Compiled,
  found: Verification,
  verdicts: Map<ObjectId, ObjectVerdict>,
): Chunked<void> {
  const { eipOf } = recordOf(kind);
  const isDue = everyNth(judgedAtOnce);
  for (const { spec } of objectsOf(desired, kind).values()) {
    if (isDue()) yield;
    const id = objectId(kind, spec.name);
    const block = compiled.blocked.get(id);
    const verdict =
      block === undefined
        ? verdictOf(id, kind, eipOf?.(spec), compiled, found, verdicts)
        : blockedVerdict(block);
    verdicts.set(id, verdict);
  }
}

/** @param eip the name of the Eip that the object refers to */
function verdictOf(
  id: ObjectId,
  kind: Kind,
  eip: ObjectName | undefined,
  compiled: Compiled,
  found: Verification,
  verdicts: ReadonlyMap<ObjectId, ObjectVerdict>,
): ObjectVerdict {
  const missing = obstacleTo("Programmed", id, kind, found);
  if (missing !== undefined) {
    const value = no(missing.reason, missing.message);
    return {
      accepted: acceptedValue,
      programmed: value,
      ready: value,
      isSettled: missing.isSettled ?? false,
    };
  }
  const obstacle =
    shadowObstacle(compiled.shadowed.get(id)) ??
    (eip === undefined ? undefined : eipObstacle(eip, verdicts)) ??
    obstacleTo("Ready", id, kind, found);
  if (obstacle !== undefined) {
    const ready = no(obstacle.reason, obstacle.message);
    return { ...readyVerdict, ready, isSettled: obstacle.isSettled ?? false };
  }
  const idle = compiled.idle.get(id);
  return idle === undefined ? readyVerdict : { ...readyVerdict, ready: yes(idle.reason, idle.message) };
}

function obstacleTo(
  condition: Obstacle["condition"],
  id: ObjectId,
  kind: Kind,
  found: Verification,
): Obstacle | undefined {
  for (const { objects, kinds: ofKinds } of found) {
    const own = objects.get(id);
    if (own?.condition === condition) return own;
    const common = ofKinds.get(kind);
    if (common?.condition === condition) return common;
  }
  return undefined;
}

function blockedVerdict(block: Block): ObjectVerdict {
  const value = no(block.reason, block.message);
  const accepted = block.isAccepted ? acceptedValue : value;
  return { accepted, programmed: value, ready: value, isSettled: block.reason !== "Pending" };
}

/** A FIP takes every packet of its EIP before DNAT rules are reached. */
function shadowObstacle(fip: ObjectId | undefined): Omit<Obstacle, "condition"> | undefined {
  if (fip === undefined) return undefined;
  return { reason: "Shadowed", message: `${fip} takes all packets of its EIP`, isSettled: true };
}

/**
 * Only a conflict with another host over the Eip lasts until something else happens. A later pass may find all other
 * causes gone.
 */
function eipObstacle(
  eip: ObjectName,
  verdicts: ReadonlyMap<ObjectId, ObjectVerdict>,
): Omit<Obstacle, "condition"> | undefined {
  const verdict = verdicts.get(objectId("eip", eip));
  if (verdict?.ready.holds) return undefined;
  const message = `eip ${eip} is not ready: ${verdict?.ready.message ?? "it does not exist"}`;
  return { reason: "EipNotReady", message, isSettled: verdict?.isSettled ?? false };
}

function yes(reason: ConditionValue["reason"], message = ""): ConditionValue {
  return { holds: true, reason, message };
}

function no(reason: ConditionValue["reason"], message: string): ConditionValue {
  return { holds: false, reason, message };
}

const acceptedValue = yes("Accepted");
/** Shared by all objects without obstacles: of 10,000 objects, almost all have it. */
const readyVerdict: ObjectVerdict = {
  accepted: acceptedValue,
  programmed: yes("Programmed"),
  ready: yes("Ready"),
  isSettled: false,
};
