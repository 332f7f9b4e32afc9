/** The objects that were written to the store since the last pass began. */

import { type ObjectId, objectId } from "../../../lib/model/names.ts";
import type { StateChange } from "../../../lib/state/state.ts";

export class WrittenObjects {
  readonly #max: number;
  #ids: Set<ObjectId> | "all" = "all";

  /** @param max with more objects than this, only a full pass helps */
  constructor(max: number) {
    this.#max = max;
  }

  /** Call it after every change of the state, as soon as the store has the new state. */
  note(changes: readonly StateChange[]): void {
    for (const change of changes) {
      if (change.type === "gateway") this.#ids = "all";
      if (this.#ids === "all") return;
      if (change.type === "put") this.#ids.add(objectId(change.kind, change.object.spec.name));
      if (change.type === "delete") this.#ids.add(objectId(change.kind, change.name));
      if (this.#ids.size > this.#max) this.#ids = "all";
    }
  }

  /**
   * A pass begins and takes over what was written.
   * @returns `undefined` if all objects may have changed
   */
  drain(): ReadonlySet<ObjectId> | undefined {
    const ids = this.#ids;
    this.#ids = new Set();
    return ids === "all" ? undefined : ids;
  }

  /** The pass that took them gave way to a full pass. */
  restore(ids: ReadonlySet<ObjectId> | undefined): void {
    if (ids === undefined) this.#ids = "all";
    else if (this.#ids !== "all") this.#ids = this.#ids.union(ids);
  }
}
