/**
 * All events of the agent, in one order. The store and the status board say which objects changed; other components
 * report what happened.
 *
 * INVARIANT: a change gets its sequence only after everybody can read it. So whoever reads {@link EventHub.sequence}
 * and the objects in the same turn of the event loop, and then the events after that sequence, misses no state: at
 * worst it is told again of what it has read.
 *
 * Without readers a change costs one entry of a map: nobody makes text of it.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Chunked, forEachChunked } from "../../lib/chunked.ts";
import { formatEventId } from "../../lib/events/event-id.ts";
import { EventLog, type EventLogLimits } from "../../lib/events/event-log.ts";
import type { Occurrence, OccurrenceType } from "../../lib/events/event-types.ts";
import { TimeMarks } from "../../lib/events/time-marks.ts";
import { type ObjectId, type ObjectName, objectId } from "../../lib/model/names.ts";
import { type Desired, findObject } from "../../lib/state/desired.ts";
import type { StateChange } from "../../lib/state/state.ts";

export interface EventHubDeps {
  readonly epoch: string;
  /** The sequence before the first event: `firstSequence` of lib/events/event-id.ts. */
  readonly start: number;
  /** The current desired set. */
  readonly desired: () => Desired;
  /** The users of each Eip. */
  readonly usersByEip: (desired: Desired) => Chunked<ReadonlyMap<ObjectName, readonly ObjectId[]>>;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  readonly limits?: EventLogLimits;
}

/** Takes about a millisecond. */
const objectsPerTurn = 2_000;
/** Events within this time are announced to the readers together. */
const quietMs = 20;

export class EventHub {
  readonly #deps: EventHubDeps;
  readonly #log: EventLog;
  readonly #marks: TimeMarks;
  readonly #listeners = new Set<() => void>();
  /** Changes that have no sequence yet. */
  readonly #queue: Chunked<void>[] = [];
  #isDraining = false;
  #announcing: NodeJS.Timeout | undefined;
  #announcedMs = Number.NEGATIVE_INFINITY;

  constructor(deps: EventHubDeps) {
    this.#deps = deps;
    this.#log = new EventLog(deps.start, deps.limits);
    this.#marks = new TimeMarks(deps.nowMs(), deps.start);
  }

  get epoch(): string {
    return this.#deps.epoch;
  }

  /** The sequence before the first event of this process. */
  get start(): number {
    return this.#deps.start;
  }

  /** The sequence of the last event. */
  get sequence(): number {
    return this.#log.head;
  }

  /** The id of the last event. */
  get id(): string {
    return formatEventId(this);
  }

  get log(): Pick<EventLog, "after" | "floor"> {
    return this.#log;
  }

  /** The sequence before the first event of the last `ms`. `undefined` if the agent does not run for so long. */
  sequenceAgo(ms: number): number | undefined {
    return this.#marks.at(this.#deps.nowMs() - ms);
  }

  /**
   * Calls `listener` soon after events. Several events within a short time are one call.
   * @returns removes the listener
   */
  onEvents(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The conditions of these objects changed. Call it when everybody can read the new ones. */
  onConditions(ids: readonly ObjectId[]): void {
    if (ids.length > 0) this.enqueue(this.#touch(ids));
  }

  /** These changes were stored. Call it when everybody can read the new state. */
  onStored(changes: readonly StateChange[]): void {
    if (changes.some(({ type }) => type === "put" || type === "delete"))
      this.enqueue(this.#touchWritten(changes));
  }

  /** @param data one line of JSON; `revision` and `time` are added */
  report(type: OccurrenceType, data: object, about: Occurrence["about"] = nothing): void {
    const { revision } = this.#deps.desired();
    const time = new Date(this.#deps.wallMs()).toISOString();
    this.#log.add({ type, about, data: JSON.stringify({ revision, time, ...data }) });
    this.#announce();
  }

  stop(): void {
    clearTimeout(this.#announcing);
    this.#listeners.clear();
  }

  *#touchWritten(changes: readonly StateChange[]): Chunked<void> {
    const eips = new Set<ObjectName>();
    yield* forEachChunked(changes, objectsPerTurn, (change) => {
      if (change.type !== "put" && change.type !== "delete") return;
      const name = change.type === "put" ? change.object.spec.name : change.name;
      this.#touchOne(objectId(change.kind, name));
      if (change.kind === "eip") eips.add(name);
    });
    this.#announce();
    if (eips.size > 0) yield* this.#touchUsers(eips);
  }

  *#touch(ids: readonly ObjectId[]): Chunked<void> {
    yield* forEachChunked(ids, objectsPerTurn, (id) => this.#touchOne(id));
    this.#announce();
  }

  #touchOne(id: ObjectId): void {
    this.#log.touch(id, findObject(this.#deps.desired(), id) === undefined);
  }

  /** What uses an Eip that was written waits for the next pass, like the Eip. */
  *#touchUsers(eips: ReadonlySet<ObjectName>): Chunked<void> {
    const users = yield* this.#deps.usersByEip(this.#deps.desired());
    const ids: ObjectId[] = [];
    yield* forEachChunked(eips, objectsPerTurn, (eip) => {
      for (const user of users.get(eip) ?? []) ids.push(user);
    });
    yield* this.#touch(ids);
  }

  /** Runs what follows from changes, after what was queued before: little at once, much in later turns. */
  enqueue(parts: Chunked<void>): void {
    this.#queue.push(parts);
    if (this.#isDraining) return;
    this.#advance();
    if (this.#queue.length > 0) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#isDraining = true;
    while (this.#queue.length > 0) {
      await nextTurn();
      this.#advance();
    }
    this.#isDraining = false;
  }

  #advance(): void {
    if (this.#queue[0]?.next().done === true) this.#queue.shift();
  }

  #announce(): void {
    const nowMs = this.#deps.nowMs();
    this.#marks.add(nowMs, this.#log.head);
    if (this.#listeners.size === 0 || this.#announcing !== undefined) return;
    const waitMs = Math.max(0, this.#announcedMs + quietMs - nowMs);
    this.#announcing = setTimeout(() => {
      this.#announcing = undefined;
      this.#announcedMs = this.#deps.nowMs();
      for (const listener of [...this.#listeners]) listener();
    }, waitMs);
  }
}

const nothing: ReadonlySet<ObjectId> = new Set();
