/**
 * What the status board says at one instant. Immutable, so a list that takes many turns of the event loop comes from
 * one view.
 */
import { type Chunked, runSync } from "../../lib/chunked.ts";
import type { Spec } from "../../lib/kinds/registry.ts";
import {
  collectionOf,
  kinds,
  type ObjectId,
  type ObjectName,
  objectId,
  parseObjectId,
} from "../../lib/model/names.ts";
import type { Claim, Condition, ConditionType, Reason, Status, Verdict } from "../../lib/model/status.ts";
import type { Stored } from "../../lib/model/stored.ts";
import { eipRevisionOf, type FoundObject, findObject, objectsOf } from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";

/** The result for an object from the last pass that looked at it. */
export interface Entry {
  readonly revision: number;
  /** The revision of the Eip when the object was judged. 0 if it has no Eip. */
  readonly eipRevision: number;
  readonly verdict: Verdict;
  readonly sighting: Sighting;
  readonly since: Since;
}

/** When a pass read back. All objects of that pass share it; a pass that finds them unchanged updates it. */
export interface Sighting {
  verifiedAt: string;
}

/** When each condition last changed. */
export type Since = Readonly<Record<ConditionType, string>>;

const pending: Claim = { holds: false, reason: "Pending", message: "not yet read back from the kernel" };
const notSeen: Verdict = {
  accepted: { holds: true, reason: "Accepted", message: "" },
  programmed: pending,
  ready: pending,
  isSettled: false,
};

/** By collection. */
export type ObjectCounts = Readonly<
  Record<string, { readonly total: number; readonly ready: number; readonly notReady: number }>
>;

/** Takes a few milliseconds. */
const lookedAtOnce = 5_000;

export interface ViewSource {
  readonly epoch: string;
  readonly startedAt: string;
  /** The current state of the store. */
  readonly state: State;
  readonly entries: ReadonlyMap<ObjectId, Entry>;
  /** The one sighting that may still change, with its time when the view was made. */
  readonly latest: { readonly sighting: Sighting; readonly verifiedAt: string } | undefined;
  /** The users of each Eip. Needed for the status of an Eip. */
  readonly usersByEip: () => Chunked<ReadonlyMap<ObjectName, readonly ObjectId[]>>;
}

export class BoardView {
  readonly #source: ViewSource;
  #users: ReadonlyMap<ObjectName, readonly ObjectId[]> | undefined;

  constructor(source: ViewSource) {
    this.#source = source;
  }

  /** The state that the statuses are based on. */
  get state(): State {
    return this.#source.state;
  }

  /** Looks up in advance, in parts, the users that statuses of Eips need. */
  *prepare(): Chunked<void> {
    this.#users ??= yield* this.#source.usersByEip();
  }

  statusOf(id: ObjectId): Status {
    const { epoch, entries, state } = this.#source;
    const entry = entries.get(id);
    const verdict = this.verdictOf(id, findObject(state.desired, id));
    const since = entry?.since;
    const { kind, name } = parseObjectId(id);
    return {
      ready: verdict.ready.holds,
      observedRevision: entry?.revision ?? 0,
      epoch,
      ...(entry !== undefined && { verifiedAt: this.#verifiedAt(entry) }),
      conditions: [
        this.#condition("Accepted", verdict.accepted, since),
        this.#condition("Programmed", verdict.programmed, since),
        this.#condition("Ready", verdict.ready, since),
      ],
      ...(kind === "eip" && { usedBy: [...this.#usersOf(name)] }),
    };
  }

  /** `statusOf(id).ready`, for thousands of objects. */
  isObjectReady(id: ObjectId): boolean {
    return this.verdictOf(id, findObject(this.#source.state.desired, id)).ready.holds;
  }

  /** True if one of the object's conditions has this reason. */
  hasReason(id: ObjectId, reason: Reason): boolean {
    const { accepted, programmed, ready } = this.verdictOf(id, findObject(this.#source.state.desired, id));
    return accepted.reason === reason || programmed.reason === reason || ready.reason === reason;
  }

  /** The number of objects of each kind, and how many of them are Ready. */
  *counts(): Chunked<ObjectCounts> {
    const { desired } = this.#source.state;
    const counts: Record<string, ObjectCounts[string]> = {};
    let looked = 0;
    for (const kind of kinds) {
      const objects: ReadonlyMap<ObjectName, Stored<Spec>> = objectsOf(desired, kind);
      let ready = 0;
      for (const [name, stored] of objects) {
        if (++looked % lookedAtOnce === 0) yield;
        if (this.verdictOf(objectId(kind, name), { kind, stored }).ready.holds) ready++;
      }
      counts[collectionOf(kind)] = { total: objects.size, ready, notReady: objects.size - ready };
    }
    return counts;
  }

  verdictOf(id: ObjectId, object: FoundObject | undefined): Verdict {
    const { entries, state } = this.#source;
    const entry = entries.get(id);
    if (entry === undefined || object === undefined) return notSeen;
    const isCurrent =
      entry.revision === object.stored.revision && entry.eipRevision === eipRevisionOf(state.desired, object);
    return isCurrent ? entry.verdict : { ...notSeen, accepted: entry.verdict.accepted };
  }

  #verifiedAt({ sighting }: Entry): string {
    const { latest } = this.#source;
    return sighting === latest?.sighting ? latest.verifiedAt : sighting.verifiedAt;
  }

  #usersOf(eip: ObjectName): readonly ObjectId[] {
    this.#users ??= runSync(this.#source.usersByEip());
    return this.#users.get(eip) ?? [];
  }

  #condition(type: ConditionType, claim: Claim, since: Since | undefined): Condition {
    return {
      type,
      status: claim.holds ? "True" : "False",
      reason: claim.reason,
      message: claim.message,
      lastTransitionTime: since?.[type] ?? this.#source.startedAt,
    };
  }
}
