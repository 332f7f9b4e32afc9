/** The events that can still be read: changes of objects and occurrences, in one order. */
import type { ObjectId } from "../model/names.ts";
import { ChangeLog, type ChangeLogLimits } from "./change-log.ts";
import type { EventType, Occurrence } from "./event-types.ts";
import { type KeptOccurrence, type OccurrenceLimits, OccurrenceRing } from "./occurrence-ring.ts";

export interface EventLogLimits extends ChangeLogLimits {
  readonly occurrences: OccurrenceLimits;
}

export const eventLogLimits: EventLogLimits = {
  objects: 400_000,
  deleted: 10_000,
  occurrences: { count: 512, bytes: 1024 * 1024 },
};

/** Of an object only its name is kept: who reads the event reads the object as it is then. */
export interface ChangedObject {
  readonly type: "object";
  readonly sequence: number;
  readonly id: ObjectId;
}

export type LoggedEvent = ChangedObject | KeptOccurrence;

export class EventLog {
  readonly #changes: ChangeLog;
  readonly #occurrences: OccurrenceRing;
  #head: number;

  /** @param start the sequence before the first event */
  constructor(start: number, limits: EventLogLimits = eventLogLimits) {
    this.#head = start;
    this.#changes = new ChangeLog(start, limits);
    this.#occurrences = new OccurrenceRing(start, limits.occurrences);
  }

  /** The sequence of the last event. */
  get head(): number {
    return this.#head;
  }

  /** An object changed. */
  touch(id: ObjectId, isDeleted: boolean): void {
    this.#changes.add(id, ++this.#head, isDeleted);
  }

  add(occurrence: Occurrence): void {
    this.#occurrences.add(occurrence, ++this.#head);
  }

  /**
   * The events of these types after this sequence are in the log, except for changes of objects that a later change
   * took the place of. Of events up to it some may be missing.
   */
  floor(types: Iterable<EventType>): number {
    let floor = 0;
    for (const type of types) {
      if (type === "object") floor = Math.max(floor, this.#changes.floor);
      else if (type !== "resync") floor = Math.max(floor, this.#occurrences.floor(type));
    }
    return floor;
  }

  /** The events after `sequence` in their order. Nothing may be added while they are read. */
  *after(sequence: number): Generator<LoggedEvent, void, undefined> {
    let change = this.#changes.at(this.#changes.placeAfter(sequence));
    let place = this.#occurrences.placeAfter(sequence);
    for (;;) {
      const occurrence = this.#occurrences.at(place);
      if (change !== undefined && (occurrence === undefined || change.sequence < occurrence.sequence)) {
        yield { type: "object", sequence: change.sequence, id: change.id };
        change = this.#changes.at(change.place + 1);
      } else if (occurrence !== undefined) {
        yield occurrence;
        place++;
      } else return;
    }
  }
}
