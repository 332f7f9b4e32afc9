/**
 * The status board: what the last pass found for each object, compared with what the store holds now.
 *
 * INVARIANT: an object is Ready only while its stored revision, and that of its Eip, are the revisions that a pass of
 * this process has read back. A write makes it Pending at once, before any pass runs. Nothing here is stored.
 */

import { type Chunked, everyNth, filterChunked, runSync } from "../../lib/chunked.ts";
import { usersByEipChunked } from "../../lib/compile/references.ts";
import { memoizeLastChunked } from "../../lib/memoize.ts";
import type { ObjectId } from "../../lib/model/names.ts";
import type { ConditionValue, ObjectVerdict, Status } from "../../lib/model/status.ts";
import { OrderedMap, type OrderedMapDraft } from "../../lib/ordered-map.ts";
import { type Desired, eipRevisionOf, findObject } from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";
import type { PassReading, PublishedPass, VerdictSink } from "../reconciler/verdict-sink.ts";
import {
  BoardView,
  CountsMemory,
  type Entry,
  type ReadBack,
  type Shown,
  shownOf,
  type TransitionTimes,
} from "./board-view.ts";
import { Waiting, type WaitOutcome } from "./waiting.ts";
import { WriteTimes } from "./write-times.ts";

/** Takes a few milliseconds. */
const objectsPerPart = 2_000;

interface Goals {
  readonly ready?: readonly ObjectId[];
  readonly programmed?: readonly ObjectId[];
  readonly gone: readonly ObjectId[];
  readonly revision: number;
}

export class StatusBoard implements VerdictSink {
  readonly #epoch: string;
  readonly #currentState: () => State;
  readonly #writes: WriteTimes;
  readonly #waiting = new Waiting();
  readonly #usersOf = memoizeLastChunked(usersByEipChunked);
  /** Replaced as a whole, so that existing views do not change. */
  #entries = OrderedMap.from<ObjectId, Entry>([]);
  /** The result of the last full pass. `undefined` after anything else was published. */
  #whole: (Pick<PublishedPass, "verdicts"> & { desired: Desired; readBack: ReadBack }) | undefined;
  #passRevision = -1;
  #passGeneration = 0;
  #isCleared = false;
  #isStopping = false;
  #onConditions: (ids: readonly ObjectId[]) => void = () => undefined;
  readonly #countsMemory = new CountsMemory();

  constructor(epoch: string, currentState: () => State, startedAt: string) {
    this.#epoch = epoch;
    this.#currentState = currentState;
    this.#writes = new WriteTimes(currentState().desired.revision, startedAt);
  }

  /** Call it after each write, before anybody reads the new state. @param at RFC 3339 */
  noteWrite({ desired }: Pick<State, "desired">, at: string): void {
    this.#writes.note(desired.revision, at);
  }

  /** From now on `listener` is called with objects whose conditions changed, when everybody can read the new ones. */
  onConditions(listener: (ids: readonly ObjectId[]) => void): void {
    this.#onConditions = listener;
  }

  /** The users of each Eip in `desired`. */
  usersByEip(desired: Desired): ReturnType<typeof usersByEipChunked> {
    return this.#usersOf(desired);
  }

  /**
   * Takes over the result of a pass. A condition that did not change keeps its time. The result becomes visible with
   * the last part; publish nothing else until then.
   */
  *publish(result: PublishedPass): Chunked<void> {
    const { verdicts, state, verifiedAt } = result;
    if (verdicts === this.#whole?.verdicts && state.desired === this.#whole.desired) {
      this.#whole.readBack.verifiedAt = verifiedAt;
    } else {
      this.#whole = undefined;
      const draft = this.#entries.edit();
      const { readBack, changed } = yield* this.#enter(draft, result);
      let looked = 0;
      for (const id of this.#entries.keys()) {
        if (++looked % objectsPerPart === 0) yield;
        if (verdicts.has(id)) continue;
        draft.delete(id);
        if (this.#isStored(id)) changed.push(id);
      }
      yield;
      this.#entries = draft.finish();
      this.#whole = { verdicts, desired: state.desired, readBack };
      this.#onConditions(changed);
    }
    this.#conclude(result);
  }

  /** Takes over the result of a pass over `affected` only. Results of all other objects stay. */
  publishPart(result: PublishedPass, affected: ReadonlySet<ObjectId>): void {
    this.#whole = undefined;
    const draft = this.#entries.edit();
    const { changed } = runSync(this.#enter(draft, result));
    for (const id of affected) {
      if (result.verdicts.has(id)) continue;
      draft.delete(id);
      if (this.#isStored(id)) changed.push(id);
    }
    this.#entries = draft.finish();
    this.#onConditions(changed);
    this.#conclude(result);
  }

  /**
   * For a reading whose pass did not finish: takes Ready away from objects that the kernel lacks. Makes nothing Ready.
   */
  *withdraw({ verdicts, ...reading }: PassReading): Chunked<void> {
    const isLost = ([id, { ready }]: readonly [ObjectId, ObjectVerdict]) =>
      !ready.holds && (this.#entries.get(id)?.verdict.ready.holds ?? false);
    const lost = new Map(yield* filterChunked(verdicts, objectsPerPart, isLost));
    this.#whole = undefined;
    const draft = this.#entries.edit();
    const { changed } = yield* this.#enter(draft, { ...reading, verdicts: lost });
    this.#entries = draft.finish();
    this.#onConditions(changed);
  }

  *#enter(
    draft: OrderedMapDraft<ObjectId, Entry>,
    { state, verdicts, verifiedAt }: PassReading,
  ): Chunked<{ readonly readBack: ReadBack; readonly changed: ObjectId[] }> {
    const readBack: ReadBack = { verifiedAt };
    const changed: ObjectId[] = [];
    const writtenAt = this.#writes.reader();
    const sinceOf = transitions(verifiedAt);
    let entered = 0;
    for (const [id, verdict] of verdicts) {
      if (++entered % objectsPerPart === 0) yield;
      const object = findObject(state.desired, id);
      if (object === undefined) continue;
      const { revision } = object.stored;
      const before = this.#entries.get(id);
      const since = sinceOf(shownOf(before, object, state.desired, writtenAt), verdict);
      const eipRevision = eipRevisionOf(state.desired, object);
      const entry: Entry = { revision, eipRevision, verdict, readBack, since };
      draft.set(id, entry);
      if (before === undefined || !isSameStatus(before, entry)) changed.push(id);
    }
    return { readBack, changed };
  }

  #isStored(id: ObjectId): boolean {
    return findObject(this.#currentState().desired, id) !== undefined;
  }

  #conclude({ state, isCleared }: PublishedPass): void {
    this.#passRevision = state.desired.revision;
    this.#passGeneration = state.desired.generation;
    this.#isCleared = isCleared;
    this.#waiting.look();
  }

  /** The revision of the last pass. */
  get appliedRevision(): number {
    return Math.max(this.#passRevision, 0);
  }

  /** The generation of the last pass. */
  get appliedGeneration(): number {
    return this.#passGeneration;
  }

  /** The current statuses. The view does not change afterwards. */
  view(): BoardView {
    const state = this.#currentState();
    const readBack = this.#whole?.readBack;
    return new BoardView({
      epoch: this.#epoch,
      writtenAt: this.#writes.reader(),
      state,
      entries: this.#entries,
      latest: readBack && { readBack, verifiedAt: readBack.verifiedAt },
      usersByEip: () => this.usersByEip(state.desired),
      countsMemory: this.#countsMemory,
    });
  }

  statusOf(id: ObjectId): Status {
    return this.view().statusOf(id);
  }

  wait(goals: Goals, timeoutMs: number, signal: AbortSignal): Promise<WaitOutcome> {
    return this.#waiting.wait(() => this.#judge(goals), timeoutMs, signal);
  }

  /** Answers all waiting requests. */
  stop(): void {
    this.#isStopping = true;
    this.#waiting.look();
  }

  *#judge(goals: Goals): Chunked<WaitOutcome | undefined> {
    if (this.#isStopping) return "stopping";
    if (this.#passRevision < goals.revision) return undefined;
    const view = this.view();
    const { desired } = view.state;
    let isAllDone = goals.gone.length === 0 || this.#isCleared;
    const isDue = everyNth(objectsPerPart);
    for (const condition of ["ready", "programmed"] as const) {
      for (const id of goals[condition] ?? []) {
        if (isDue()) yield;
        const object = findObject(desired, id);
        // A later write removed it, so it can no longer become Ready.
        if (object === undefined) return "settled";
        const verdict = view.verdictOf(id, object);
        if (verdict[condition].holds) continue;
        if (!verdict.isSettled) return undefined;
        isAllDone = false;
      }
    }
    if (isAllDone) return "done";
    return goals.gone.length === 0 || this.#isCleared ? "settled" : undefined;
  }
}

/** True if the two differ in nothing but the time of the reading. */
function isSameStatus(before: Entry, after: Entry): boolean {
  if (before.revision !== after.revision || before.eipRevision !== after.eipRevision) return false;
  if (before.since !== after.since) return false;
  const [{ verdict: one }, { verdict: other }] = [before, after];
  if (one === other) return true;
  return (
    isSameCondition(one.accepted, other.accepted) &&
    isSameCondition(one.programmed, other.programmed) &&
    isSameCondition(one.ready, other.ready)
  );
}

function isSameCondition(one: ConditionValue, other: ConditionValue): boolean {
  return one === other || (one.reason === other.reason && one.message === other.message);
}

/**
 * Since when each condition is as it is: a condition that was shown so before keeps its time. Objects that have the same times
 * share them.
 */
function transitions(now: string): (before: Shown, verdict: ObjectVerdict) => TransitionTimes {
  let last: TransitionTimes = { Accepted: now, Programmed: now, Ready: now };
  return ({ verdict, since }, { accepted, programmed, ready }) => {
    const Accepted = verdict.accepted.holds === accepted.holds ? since.Accepted : now;
    const Programmed = verdict.programmed.holds === programmed.holds ? since.Programmed : now;
    const Ready = verdict.ready.holds === ready.holds ? since.Ready : now;
    const isKnown = (times: TransitionTimes) =>
      times.Accepted === Accepted && times.Programmed === Programmed && times.Ready === Ready;
    if (isKnown(since)) return since;
    if (!isKnown(last)) last = { Accepted, Programmed, Ready };
    return last;
  };
}
