/**
 * Objects that the kernel refused. Each is left out, and tried again after a pause, on request, or as soon as it is
 * written again.
 */

import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";
import type { PassRequest } from "../pass-request.ts";
import type { StepFailure } from "../subsystem.ts";
import { Backoff } from "./backoff.ts";

export class Quarantine {
  readonly #nowMs: () => number;
  readonly #backoff = new Backoff<ObjectId>();
  /** The revision at which each object was refused. */
  readonly #refusedAt = new Map<ObjectId, number>();
  /** The objects that this pass tries again. */
  #tried: ReadonlySet<ObjectId> = new Set();

  /** @param nowMs milliseconds of a monotonic clock */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The objects to leave out now, each with the kernel's error text. */
  get objects(): ReadonlyMap<ObjectId, string> {
    const waiting = this.#backoff.waiting(this.#nowMs());
    return new Map([...waiting].map(([id, { message }]) => [id, message]));
  }

  /**
   * A pass begins: it tries the objects that are due, and on request all others too. An object that was written again
   * or deleted is released.
   */
  onPassStart(state: State, { isRetry = false }: Pick<PassRequest, "isRetry">): void {
    for (const [id, revision] of this.#refusedAt) if (revisionOf(state, id) !== revision) this.#release(id);
    if (isRetry) this.#backoff.retryAll(this.#nowMs());
    this.#tried = this.#backoff.due(this.#nowMs());
  }

  /** Takes in the objects that the kernel refused. */
  record(state: State, failures: readonly StepFailure[]): void {
    for (const { isRejected, object, message } of failures) {
      if (!isRejected || object === undefined) continue;
      this.#backoff.record(object, message, this.#nowMs());
      this.#refusedAt.set(object, revisionOf(state, object));
    }
  }

  /**
   * The pass has judged: objects that it tried and that are programmed now are released. One that was neither refused nor
   * programmed, for example because its rules could not be read, waits once more. Without this it stays due, and passes
   * follow each other without a pause.
   */
  onJudged(isProgrammed: (id: ObjectId) => boolean): void {
    const stillDue = this.#backoff.due(this.#nowMs());
    for (const id of this.#tried.intersection(stillDue)) {
      if (isProgrammed(id)) this.#release(id);
      else this.#backoff.postpone(id, this.#nowMs());
    }
  }

  /** Milliseconds until an object is tried again. `undefined` if there is none. */
  dueInMs(): number | undefined {
    return this.#backoff.dueInMs(this.#nowMs());
  }

  #release(id: ObjectId): void {
    this.#refusedAt.delete(id);
    this.#backoff.clear(id);
  }
}

function revisionOf(state: State, id: ObjectId): number {
  const { kind, name } = parseObjectId(id);
  return objectsOf(state.desired, kind).get(name)?.revision ?? 0;
}
