/**
 * The statuses of all objects at one instant. A view does not change, so a long list that is made in many parts comes
 * from one view and is consistent.
 *
 * The status of an object is the verdict of the last pass that judged it, unless the object or its Eip was written
 * since: then only its acceptance still holds.
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
import type {
  Condition,
  ConditionType,
  ConditionValue,
  ObjectVerdict,
  Reason,
  Status,
} from "../../lib/model/status.ts";
import type { Stored } from "../../lib/model/stored.ts";
import {
  type Desired,
  eipRevisionOf,
  type FoundObject,
  findObject,
  objectsOf,
} from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";
import type { WrittenAt } from "./write-times.ts";

/** What the last pass that judged an object found. */
export interface Entry {
  /** The revision of the object when it was judged. */
  readonly revision: number;
  /** The revision of the Eip when the object was judged. 0 if it has no Eip. */
  readonly eipRevision: number;
  readonly verdict: ObjectVerdict;
  readonly readBack: ReadBack;
  readonly since: TransitionTimes;
}

/**
 * When a pass read the kernel back. All objects of that pass share this value, so a pass that finds nothing changed
 * updates one time instead of thousands.
 */
export interface ReadBack {
  verifiedAt: string;
}

/** When each condition last changed. */
export type TransitionTimes = Readonly<Record<ConditionType, string>>;

const pending: ConditionValue = {
  holds: false,
  reason: "Pending",
  message: "not yet read back from the kernel",
};
const notReadBack: ObjectVerdict = {
  accepted: { holds: true, reason: "Accepted", message: "" },
  programmed: pending,
  ready: pending,
  isSettled: false,
};

/** By collection. */
export type ObjectCounts = Readonly<
  Record<string, { readonly total: number; readonly ready: number; readonly notReady: number }>
>;

/** So many take a few milliseconds. */
const objectsPerPart = 5_000;

/** Remembers the counts of one view for those that show the same, without keeping these alive. */
export class CountsMemory {
  #known: { readonly of: readonly WeakRef<object>[]; readonly counts: ObjectCounts } | undefined;

  recall(...of: readonly object[]): ObjectCounts | undefined {
    return this.#known?.of.every((ref, at) => ref.deref() === of[at]) ? this.#known.counts : undefined;
  }

  keep(counts: ObjectCounts, ...of: readonly object[]): ObjectCounts {
    this.#known = { of: of.map((one) => new WeakRef(one)), counts };
    return counts;
  }
}

export interface ViewSource {
  readonly epoch: string;
  readonly writtenAt: WrittenAt;
  /** The current state of the store. */
  readonly state: State;
  readonly entries: ReadonlyMap<ObjectId, Entry>;
  /** Of the last pass: the only one whose time may still change. `verifiedAt` is its time when the view was made. */
  readonly latest: { readonly readBack: ReadBack; readonly verifiedAt: string } | undefined;
  /** The users of each Eip. Needed for the status of an Eip. */
  readonly usersByEip: () => Chunked<ReadonlyMap<ObjectName, readonly ObjectId[]>>;
  readonly countsMemory: CountsMemory;
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

  /** Finds the users of all Eips in parts. Without this, the first status of an Eip finds them at once. */
  *prepare(): Chunked<void> {
    this.#users ??= yield* this.#source.usersByEip();
  }

  statusOf(id: ObjectId): Status {
    const { kind, name } = parseObjectId(id);
    const status = this.briefStatusOf(id);
    return kind === "eip" ? { ...status, usedBy: [...this.#usersOf(name)] } : status;
  }

  /** The status without the users of an Eip, which cost a look at all objects after each write. */
  briefStatusOf(id: ObjectId): Status {
    const { epoch, entries, state, writtenAt } = this.#source;
    const entry = entries.get(id);
    const object = findObject(state.desired, id);
    const { verdict, since } = shownOf(entry, object, state.desired, writtenAt);
    return {
      ready: verdict.ready.holds,
      observedRevision: entry?.revision ?? 0,
      epoch,
      ...(entry !== undefined && { verifiedAt: this.#verifiedAt(entry) }),
      conditions: [
        conditionOf("Accepted", verdict.accepted, since),
        conditionOf("Programmed", verdict.programmed, since),
        conditionOf("Ready", verdict.ready, since),
      ],
    };
  }

  /** `statusOf(id).ready`, for thousands of objects. */
  isObjectReady(id: ObjectId): boolean {
    return this.verdictOf(id, findObject(this.#source.state.desired, id)).ready.holds;
  }

  /** True if one of the object's conditions has this reason. */
  hasReason(id: ObjectId, reason: Reason): boolean {
    return this.findReason(id, reason) !== undefined;
  }

  /** The first of the object's conditions that has this reason. */
  findReason(id: ObjectId, reason: Reason): ConditionValue | undefined {
    const { accepted, programmed, ready } = this.verdictOf(id, findObject(this.#source.state.desired, id));
    return [accepted, programmed, ready].find((condition) => condition.reason === reason);
  }

  /** The number of objects of each kind, and how many of them are Ready. */
  *counts(): Chunked<ObjectCounts> {
    const { state, entries, countsMemory } = this.#source;
    const { desired } = state;
    const known = countsMemory.recall(desired, entries);
    if (known !== undefined) return known;
    const counts: Record<string, ObjectCounts[string]> = {};
    let looked = 0;
    for (const kind of kinds) {
      const objects: ReadonlyMap<ObjectName, Stored<Spec>> = objectsOf(desired, kind);
      let ready = 0;
      for (const [name, stored] of objects) {
        if (++looked % objectsPerPart === 0) yield;
        if (this.verdictOf(objectId(kind, name), { kind, stored }).ready.holds) ready++;
      }
      counts[collectionOf(kind)] = { total: objects.size, ready, notReady: objects.size - ready };
    }
    return countsMemory.keep(counts, desired, entries);
  }

  /** @param object the object as stored. `undefined` if it is not */
  verdictOf(id: ObjectId, object: FoundObject | undefined): ObjectVerdict {
    const { entries, state } = this.#source;
    const entry = entries.get(id);
    if (entry === undefined || object === undefined) return notReadBack;
    const written = writtenSince(entry, object, state.desired);
    return written === undefined ? entry.verdict : { ...notReadBack, accepted: entry.verdict.accepted };
  }

  #verifiedAt({ readBack }: Entry): string {
    const { latest } = this.#source;
    return readBack === latest?.readBack ? latest.verifiedAt : readBack.verifiedAt;
  }

  #usersOf(eip: ObjectName): readonly ObjectId[] {
    this.#users ??= runSync(this.#source.usersByEip());
    return this.#users.get(eip) ?? [];
  }
}

/** What is shown of an object, and since when. */
export interface Shown {
  readonly verdict: ObjectVerdict;
  readonly since: TransitionTimes;
}

/** What the last pass found, if neither the object nor its Eip was written since; else that it is Pending. */
export function shownOf(
  entry: Entry | undefined,
  object: FoundObject | undefined,
  desired: Desired,
  writtenAt: WrittenAt,
): Shown {
  if (entry === undefined || object === undefined) {
    const at = writtenAt(object?.stored.revision ?? 0);
    return { verdict: notReadBack, since: { Accepted: at, Programmed: at, Ready: at } };
  }
  const { verdict, since } = entry;
  const written = writtenSince(entry, object, desired);
  if (written === undefined) return { verdict, since };
  const at = writtenAt(written);
  return {
    verdict: { ...notReadBack, accepted: verdict.accepted },
    since: {
      Accepted: since.Accepted,
      Programmed: verdict.programmed.holds ? at : since.Programmed,
      Ready: verdict.ready.holds ? at : since.Ready,
    },
  };
}

/** The first revision known since an object was judged that wrote it or its Eip. `undefined`: none did. */
function writtenSince(entry: Entry, object: FoundObject, desired: Desired): number | undefined {
  const { revision } = object.stored;
  const eipRevision = eipRevisionOf(desired, object);
  const isWritten = entry.revision !== revision;
  if (entry.eipRevision === eipRevision) return isWritten ? revision : undefined;
  // An Eip that is gone has none: some write up to the last one removed it.
  const eipWritten = eipRevision === 0 ? desired.revision : eipRevision;
  return isWritten ? Math.min(revision, eipWritten) : eipWritten;
}

function conditionOf(type: ConditionType, value: ConditionValue, since: TransitionTimes): Condition {
  return {
    type,
    status: value.holds ? "True" : "False",
    reason: value.reason,
    message: value.message,
    lastTransitionTime: since[type],
  };
}
