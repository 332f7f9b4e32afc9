/** What the API shows of objects, and of what a write made of them. */

import { type Kind, type ObjectId, objectId, parseObjectId } from "../../lib/model/names.ts";
import type { Spec } from "../../lib/model/schema.ts";
import type { Status } from "../../lib/model/status.ts";
import type { Stored } from "../../lib/model/stored.ts";
import { objectsOf } from "../../lib/state/desired.ts";
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

/** `"Eip"` for `eip`, as a custom resource's kind is written. */
export function kindTitle(kind: Kind): string {
  return kind.charAt(0).toUpperCase() + kind.slice(1);
}

export function objectDocument(kind: Kind, stored: Stored<Spec>, board: BoardPort): ObjectDocument {
  const { name, uid, ...spec } = stored.spec;
  return {
    kind: kindTitle(kind),
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
    const { kind, name } = parseObjectId(id);
    const stored = objectsOf(state.desired, kind).get(name);
    if (stored !== undefined) notReady.push(objectDocument(kind, stored, board));
  }
  const { revision, generation } = state.desired;
  return { revision, generation, ready: written.length - notReadyTotal, notReady, notReadyTotal };
}
