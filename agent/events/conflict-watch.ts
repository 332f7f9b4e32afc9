/** Reports when another host begins or ceases to hold an Eip, as the conditions of the Eip say it. */
import { type Chunked, forEachChunked } from "../../lib/chunked.ts";
import { type ObjectId, parseObjectId } from "../../lib/model/names.ts";
import type { BoardView } from "../status/board-view.ts";
import type { EventHub } from "./hub.ts";

/** Takes about a millisecond. */
const objectsPerTurn = 1_000;

type View = Pick<BoardView, "findReason">;

export class ConflictWatch {
  readonly #hub: Pick<EventHub, "report">;
  readonly #view: () => View;
  readonly #conflicts = new Map<ObjectId, string>();

  constructor(hub: Pick<EventHub, "report">, view: () => View) {
    this.#hub = hub;
    this.#view = view;
  }

  /** The conditions of these objects changed. */
  *onConditions(ids: readonly ObjectId[]): Chunked<void> {
    const view = this.#view();
    yield* forEachChunked(ids, objectsPerTurn, (id) => {
      if (id.startsWith("eips/")) this.#look(id, view);
    });
  }

  #look(id: ObjectId, view: View): void {
    const message = view.findReason(id, "AddressConflict")?.message;
    const known = this.#conflicts.get(id);
    if (message === known) return;
    if (message === undefined) this.#conflicts.delete(id);
    else this.#conflicts.set(id, message);
    const { name } = parseObjectId(id);
    const facts = { kind: "Eip", name, active: message !== undefined, message: message ?? known };
    this.#hub.report("conflict", facts, new Set([id]));
  }
}
