/**
 * The status board: what the last pass said of each object, held against what the store asks for now.
 *
 * INVARIANT: an object reads Ready only while its stored revision, and its Eip's, are the very revisions that
 * a pass of this process read back. A write makes it Pending at once, before any pass has run. Nothing here is
 * ever stored.
 */

import { type Chunked, runSync } from "../../lib/chunked.ts";
import { usersByEip } from "../../lib/compile/references.ts";
import { memoizeLast } from "../../lib/memoize.ts";
import {
  collectionOf,
  type Kind,
  kinds,
  type ObjectId,
  objectId,
  parseObjectId,
} from "../../lib/model/names.ts";
import type { Claim, Condition, ConditionType, Status, Verdict } from "../../lib/model/status.ts";
import {
  type Desired,
  eipRevisionOf,
  type FoundObject,
  findObject,
  objectsOf,
} from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";
import { Waiting, type WaitOutcome } from "./waiting.ts";

/** What a reading of the kernel allows to be said of the state that the pass works on. */
export interface PassReading {
  readonly state: State;
  readonly verdicts: ReadonlyMap<ObjectId, Verdict>;
  readonly verifiedAt: string;
}

/** What a pass found out in the end. */
export interface PublishedPass extends PassReading {
  /** True where planning again asks for nothing: what is not desired is out of the kernel. */
  readonly isClean: boolean;
}

/** Some milliseconds' worth. */
const enteredAtOnce = 5_000;

interface Entry {
  readonly revision: number;
  /** The revision of the Eip that the object was judged with; 0 where it has none. */
  readonly eipRevision: number;
  readonly verdict: Verdict;
  readonly sighting: Sighting;
  readonly since: Since;
}

/** When a pass read back; one for all that it looked at, and moved on by a pass that found all of it as it was. */
interface Sighting {
  verifiedAt: string;
}

/** When each condition last changed. */
type Since = Readonly<Record<ConditionType, string>>;

interface Goals {
  readonly ready: readonly ObjectId[];
  readonly gone: readonly ObjectId[];
  readonly revision: number;
}

const pending: Claim = { holds: false, reason: "Pending", message: "not yet read back from the kernel" };
const notSeen: Verdict = {
  accepted: { holds: true, reason: "Accepted", message: "" },
  programmed: pending,
  ready: pending,
  isSettled: false,
};

export class StatusBoard {
  readonly #epoch: string;
  readonly #currentState: () => State;
  readonly #startedAt: string;
  readonly #entries = new Map<ObjectId, Entry>();
  readonly #waiting = new Waiting();
  readonly #usersOf = memoizeLast(usersByEip);
  /** What the last pass that looked at everything said, while nothing was said since. */
  #whole: (Pick<PublishedPass, "verdicts"> & { desired: Desired; sighting: Sighting }) | undefined;
  #passRevision = -1;
  #passGeneration = 0;
  #isClean = false;
  #isStopping = false;

  constructor(epoch: string, currentState: () => State, startedAt: string) {
    this.#epoch = epoch;
    this.#currentState = currentState;
    this.#startedAt = startedAt;
  }

  /**
   * Takes over what a pass found, object by object. Conditions that did not change keep the time of their last change. Nothing
   * else may be published before the last part is done.
   */
  *publish(result: PublishedPass): Chunked<void> {
    const { verdicts, state, verifiedAt } = result;
    if (verdicts === this.#whole?.verdicts && state.desired === this.#whole.desired) {
      this.#whole.sighting.verifiedAt = verifiedAt;
    } else {
      this.#whole = undefined;
      const sighting = yield* this.#enter(result);
      for (const id of this.#entries.keys()) if (!verdicts.has(id)) this.#entries.delete(id);
      yield;
      this.#whole = { verdicts, desired: state.desired, sighting };
    }
    this.#conclude(result);
  }

  /** The same of a pass that looked at no more than `reached`; what it found of all others stands. */
  publishPart(result: PublishedPass, reached: ReadonlySet<ObjectId>): void {
    this.#whole = undefined;
    runSync(this.#enter(result));
    for (const id of reached) if (!result.verdicts.has(id)) this.#entries.delete(id);
    this.#conclude(result);
  }

  /** After a reading whose pass came to no end: takes Ready away from what it lacks, and gives it to nothing. */
  withdraw({ verdicts, ...reading }: PassReading): void {
    const isLost = ([id, { ready }]: readonly [ObjectId, Verdict]) =>
      !ready.holds && (this.#entries.get(id)?.verdict.ready.holds ?? false);
    this.#whole = undefined;
    runSync(this.#enter({ ...reading, verdicts: new Map([...verdicts].filter(isLost)) }));
  }

  *#enter({ state, verdicts, verifiedAt }: PassReading): Chunked<Sighting> {
    const sighting: Sighting = { verifiedAt };
    const now: Since = { Accepted: verifiedAt, Programmed: verifiedAt, Ready: verifiedAt };
    let entered = 0;
    for (const [id, verdict] of verdicts) {
      if (++entered % enteredAtOnce === 0) yield;
      const object = findObject(state.desired, id);
      if (object === undefined) continue;
      const { revision } = object.stored;
      const since = sinceOf(this.#entries.get(id), verdict, now);
      const eipRevision = eipRevisionOf(state.desired, object);
      this.#entries.set(id, { revision, eipRevision, verdict, sighting, since });
    }
    return sighting;
  }

  #conclude({ state, isClean }: PublishedPass): void {
    this.#passRevision = state.desired.revision;
    this.#passGeneration = state.desired.generation;
    this.#isClean = isClean;
    this.#waiting.look();
  }

  /** The revision that the last pass worked on. */
  get appliedRevision(): number {
    return Math.max(this.#passRevision, 0);
  }

  /** The generation that the last pass worked on. */
  get appliedGeneration(): number {
    return this.#passGeneration;
  }

  /** The same as in {@link statusOf}, for those who ask about thousands. */
  isObjectReady(id: ObjectId): boolean {
    return this.#verdictOf(this.#entries.get(id), findObject(this.#currentState().desired, id)).ready.holds;
  }

  statusOf(id: ObjectId): Status {
    const entry = this.#entries.get(id);
    const verdict = this.#verdictOf(entry, findObject(this.#currentState().desired, id));
    const since = entry?.since;
    const { kind, name } = parseObjectId(id);
    return {
      ready: verdict.ready.holds,
      observedRevision: entry?.revision ?? 0,
      epoch: this.#epoch,
      ...(entry !== undefined && { verifiedAt: entry.sighting.verifiedAt }),
      conditions: [
        this.#condition("Accepted", verdict.accepted, since),
        this.#condition("Programmed", verdict.programmed, since),
        this.#condition("Ready", verdict.ready, since),
      ],
      ...(kind === "eip" && {
        usedBy: [...(this.#usersOf(this.#currentState().desired).get(name) ?? [])],
      }),
    };
  }

  /** How many objects of each kind there are, and how many of them are Ready. */
  counts(): Record<string, { readonly total: number; readonly ready: number; readonly notReady: number }> {
    const state = this.#currentState();
    return Object.fromEntries(
      kinds.map((kind: Kind) => {
        const objects = objectsOf(state.desired, kind);
        let ready = 0;
        for (const [name, stored] of objects) {
          if (this.#verdictOf(this.#entries.get(objectId(kind, name)), { kind, stored }).ready.holds) ready++;
        }
        return [collectionOf(kind), { total: objects.size, ready, notReady: objects.size - ready }];
      }),
    );
  }

  wait(goals: Goals, timeoutMs: number, signal: AbortSignal): Promise<WaitOutcome> {
    return this.#waiting.wait(() => this.#judge(goals), timeoutMs, signal);
  }

  /** Answers everyone who waits. */
  stop(): void {
    this.#isStopping = true;
    this.#waiting.look();
  }

  #judge(goals: Goals): WaitOutcome | undefined {
    if (this.#isStopping) return "stopping";
    if (this.#passRevision < goals.revision) return undefined;
    const state = this.#currentState();
    let isAllDone = goals.gone.length === 0 || this.#isClean;
    for (const id of goals.ready) {
      const object = findObject(state.desired, id);
      // Taken away again by a later write: nobody can make it Ready any more.
      if (object === undefined) return "settled";
      const verdict = this.#verdictOf(this.#entries.get(id), object);
      if (verdict.ready.holds) continue;
      if (!verdict.isSettled) return undefined;
      isAllDone = false;
    }
    if (isAllDone) return "done";
    return goals.gone.length === 0 || this.#isClean ? "settled" : undefined;
  }

  #verdictOf(entry: Entry | undefined, object: FoundObject | undefined): Verdict {
    if (entry === undefined || object === undefined) return notSeen;
    const isCurrent =
      entry.revision === object.stored.revision &&
      entry.eipRevision === eipRevisionOf(this.#currentState().desired, object);
    return isCurrent ? entry.verdict : { ...notSeen, accepted: entry.verdict.accepted };
  }

  #condition(type: ConditionType, claim: Claim, since: Since | undefined): Condition {
    return {
      type,
      status: claim.holds ? "True" : "False",
      reason: claim.reason,
      message: claim.message,
      lastTransitionTime: since?.[type] ?? this.#startedAt,
    };
  }
}

/** @returns what `before` said, where no condition changed */
function sinceOf(before: Entry | undefined, { accepted, programmed, ready }: Verdict, now: Since): Since {
  if (before === undefined) return now;
  const { verdict, since } = before;
  const isAccepted = verdict.accepted.holds === accepted.holds;
  const isProgrammed = verdict.programmed.holds === programmed.holds;
  const isReady = verdict.ready.holds === ready.holds;
  if (isAccepted && isProgrammed && isReady) return since;
  return {
    Accepted: isAccepted ? since.Accepted : now.Accepted,
    Programmed: isProgrammed ? since.Programmed : now.Programmed,
    Ready: isReady ? since.Ready : now.Ready,
  };
}
