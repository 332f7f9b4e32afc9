/** The objects that were written to the store since the last pass began. */

import { type ObjectId, objectId } from "../../../lib/model/names.ts";
import type { StateChange } from "../../../lib/state/state.ts";

export class WrittenObjects {
  readonly #max: number;
  #ids: Set<ObjectId> | "anything" = "anything";

  /** @param max with more objects than this, only a full pass helps */
  constructor(max: number) {
    this.#max = max;
  }

  /** Call it after every change of the state, as soon as the state is in force. */
  note(changes: readonly StateChange[]): void {
    for (const change of changes) {
      if (change.type === "gateway") this.#ids = "anything";
      if (this.#ids === "anything") return;
      if (change.type === "put") this.#ids.add(objectId(change.kind, change.object.spec.name));
      if (change.type === "delete") this.#ids.add(objectId(change.kind, change.name));
      if (this.#ids.size > this.#max) this.#ids = "anything";
    }
  }

  /**
   * A pass begins and takes over what was written.
   * @returns `undefined` if anything may have changed
   */
  take(): ReadonlySet<ObjectId> | undefined {
    const ids = this.#ids;
    this.#ids = new Set();
    return ids === "anything" ? undefined : ids;
  }

  /** The pass that took them gave way to a full pass. */
  giveBack(ids: ReadonlySet<ObjectId> | undefined): void {
    if (ids === undefined) this.#ids = "anything";
    else if (this.#ids !== "anything") this.#ids = this.#ids.union(ids);
  }
}
