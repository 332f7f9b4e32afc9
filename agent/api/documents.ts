/** What the API shows of objects, and of what a write made of them. */

import { recordOf, type Spec } from "../../lib/kinds/registry.ts";
import { type Kind, type ObjectId, objectId } from "../../lib/model/names.ts";
import type { Status } from "../../lib/model/status.ts";
import type { Stored } from "../../lib/model/stored.ts";
import { findObject } from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";
import type { BoardPort } from "./ports.ts";

/** Objects that one answer lists where it only counts the others. */
export const maxListed = 100;

export interface ObjectDocument {
  readonly kind: string;
  readonly name: string;
  /** Absent where the object has none. */
  readonly uid?: string;
  /** In canonical form; `name` and `uid` stand beside it. */
  readonly spec: Readonly<Record<string, unknown>>;
  readonly revision: number;
  readonly status: Status;
}

export interface WriteDocument {
  readonly revision: number;
  readonly generation: number;
  readonly ready: number;
  readonly notReady: readonly ObjectDocument[];
  readonly notReadyTotal: number;
}

export function objectDocument(kind: Kind, stored: Stored<Spec>, board: BoardPort): ObjectDocument {
  const { name, uid, ...spec } = stored.spec;
  return {
    kind: recordOf(kind).title,
    name,
    ...(uid !== undefined && { uid }),
    spec,
    revision: stored.revision,
    status: board.statusOf(objectId(kind, name)),
  };
}

/** Counts `written` by readiness; lists the first that are not Ready. */
export function writeDocument(state: State, written: readonly ObjectId[], board: BoardPort): WriteDocument {
  const notReady: ObjectDocument[] = [];
  let notReadyTotal = 0;
  for (const id of written) {
    if (board.isObjectReady(id)) continue;
    notReadyTotal++;
    if (notReady.length === maxListed) continue;
    const object = findObject(state.desired, id);
    if (object !== undefined) notReady.push(objectDocument(object.kind, object.stored, board));
  }
  const { revision, generation } = state.desired;
  return { revision, generation, ready: written.length - notReadyTotal, notReady, notReadyTotal };
}
