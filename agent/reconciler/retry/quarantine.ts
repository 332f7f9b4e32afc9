/** Objects that the kernel refused. Each is left out, and tried again later or as soon as it is written again. */

import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import { objectsOf } from "../../../lib/state/desired.ts";
import type { State } from "../../../lib/state/state.ts";
import { Backoff } from "./backoff.ts";

export class Quarantine {
  readonly #nowMs: () => number;
  readonly #backoff = new Backoff<ObjectId>();
  /** The revision at which each object was refused. */
  readonly #refusedAt = new Map<ObjectId, number>();

  /** @param nowMs milliseconds of a monotonic clock */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The objects to leave out now, each with the kernel's error text. */
  get objects(): ReadonlyMap<ObjectId, string> {
    const waiting = this.#backoff.waiting(this.#nowMs());
    return new Map([...waiting].map(([id, { message }]) => [id, message]));
  }

  record(state: State, id: ObjectId, message: string): void {
    this.#backoff.record(id, message, this.#nowMs());
    this.#refusedAt.set(id, revisionOf(state, id));
  }

  /** An object that was written again or deleted is released. */
  releaseRewritten(state: State): void {
    for (const [id, revision] of this.#refusedAt) {
      if (revisionOf(state, id) === revision) continue;
      this.#refusedAt.delete(id);
      this.#backoff.clear(id);
    }
  }

  /** The objects that this pass tries again. */
  due(): ReadonlySet<ObjectId> {
    return this.#backoff.due(this.#nowMs());
  }

  /**
   * After a pass that tried `tried`: objects that are programmed now are released. One that was neither refused nor programmed,
   * for example because its rules could not be read, waits once more. Without this it stays due, and passes follow each other
   * without a pause.
   */
  conclude(tried: ReadonlySet<ObjectId>, isProgrammed: (id: ObjectId) => boolean): void {
    const stillDue = this.due();
    for (const id of tried.intersection(stillDue)) {
      if (!isProgrammed(id)) {
        this.#backoff.postpone(id, this.#nowMs());
        continue;
      }
      this.#refusedAt.delete(id);
      this.#backoff.clear(id);
    }
  }

  /** Milliseconds until an object is tried again. `undefined` if there is none. */
  dueInMs(): number | undefined {
    return this.#backoff.dueInMs(this.#nowMs());
  }
}

function revisionOf(state: State, id: ObjectId): number {
  const { kind, name } = parseObjectId(id);
  return objectsOf(state.desired, kind).get(name)?.revision ?? 0;
}
