/** The JSON documents for objects and for the result of a write. */

import type { Chunked } from "../../lib/chunked.ts";
import { recordOf, type Spec } from "../../lib/kinds/registry.ts";
import { type Kind, type ObjectId, objectId } from "../../lib/model/names.ts";
import type { Status } from "../../lib/model/status.ts";
import type { Stored } from "../../lib/model/stored.ts";
import { findObject } from "../../lib/state/desired.ts";
import type { State } from "../../lib/state/state.ts";
import type { ViewPort } from "./ports.ts";

/** Takes a few milliseconds. */
const objectsPerPart = 2_000;

/** Maximum number of objects listed in an answer. The others are only counted. */
export const maxListed = 100;

export interface ObjectDocument {
  readonly kind: string;
  readonly name: string;
  /** Absent if the object has none. */
  readonly uid?: string;
  /** In canonical form. `name` and `uid` are beside it. */
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

export function objectDocument(kind: Kind, stored: Stored<Spec>, view: ViewPort): ObjectDocument {
  return documentWith(kind, stored, view.statusOf(objectId(kind, stored.spec.name)));
}

/** Without the users of an Eip. */
export function briefDocument(kind: Kind, stored: Stored<Spec>, view: ViewPort): ObjectDocument {
  return documentWith(kind, stored, view.briefStatusOf(objectId(kind, stored.spec.name)));
}

function documentWith(kind: Kind, stored: Stored<Spec>, status: Status): ObjectDocument {
  const { name, uid, ...spec } = stored.spec;
  return {
    kind: recordOf(kind).title,
    name,
    ...(uid !== undefined && { uid }),
    spec,
    revision: stored.revision,
    status,
  };
}

/** Counts `written` by readiness and lists the first ones that are not Ready. */
export function* writeDocument(
  state: State,
  written: readonly ObjectId[],
  view: ViewPort,
): Chunked<WriteDocument> {
  const notReady: ObjectDocument[] = [];
  let notReadyTotal = 0;
  for (const [index, id] of written.entries()) {
    if (index % objectsPerPart === objectsPerPart - 1) yield;
    if (view.isObjectReady(id)) continue;
    notReadyTotal++;
    if (notReady.length === maxListed) continue;
    const object = findObject(state.desired, id);
    if (object !== undefined) notReady.push(objectDocument(object.kind, object.stored, view));
  }
  const { revision, generation } = state.desired;
  return { revision, generation, ready: written.length - notReadyTotal, notReady, notReadyTotal };
}
