/** Events as text: `id`, `event` and `data` of a server-sent event. */

import { formatEventId } from "../../../lib/events/event-id.ts";
import type { LoggedEvent } from "../../../lib/events/event-log.ts";
import type { EventType } from "../../../lib/events/event-types.ts";
import { recordOf } from "../../../lib/kinds/registry.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import { findObject } from "../../../lib/state/desired.ts";
import { briefDocument, type ObjectDocument } from "../documents.ts";
import type { ViewPort } from "../ports.ts";

/** Text that is kept for other readers. */
const keptCharacters = 1024 * 1024;

/** `data` of an `object` event: the object as a list has it, without `usedBy`; or that it is gone. */
export type ObjectEvent =
  | (ObjectDocument & { readonly deleted: false })
  | { readonly kind: string; readonly name: string; readonly revision: number; readonly deleted: true };

export function frame(epoch: string, sequence: number, type: EventType, data: string): string {
  return `id: ${formatEventId({ epoch, sequence })}\nevent: ${type}\ndata: ${data}\n\n`;
}

/** Tells a reader how far it has read; no event. */
export function heartbeat(epoch: string, sequence: number): string {
  return `: heartbeat\nid: ${formatEventId({ epoch, sequence })}\n\n`;
}

/** An object as it is in `view`, whenever it changed. A deleted one has the revision of the desired set. */
export function objectEvent(id: ObjectId, view: ViewPort): ObjectEvent {
  const { desired } = view.state;
  const found = findObject(desired, id);
  if (found !== undefined) return { ...briefDocument(found.kind, found.stored, view), deleted: false };
  const { kind, name } = parseObjectId(id);
  return { kind: recordOf(kind).title, name, revision: desired.revision, deleted: true };
}

/** Makes the text of each event once for all readers that are about as far. */
export class Frames {
  readonly #epoch: string;
  readonly #kept = new Map<number, string>();
  #characters = 0;

  constructor(epoch: string) {
    this.#epoch = epoch;
  }

  /** The text of an object may be newer than the event, never older: a later change comes as a later event. */
  textOf(event: LoggedEvent, view: ViewPort): string {
    const { sequence } = event;
    if (event.type !== "object") return frame(this.#epoch, sequence, event.type, event.data);
    const kept = this.#kept.get(sequence);
    if (kept !== undefined) return kept;
    const text = frame(this.#epoch, sequence, "object", JSON.stringify(objectEvent(event.id, view)));
    this.#keep(sequence, text);
    return text;
  }

  #keep(sequence: number, text: string): void {
    this.#kept.set(sequence, text);
    this.#characters += text.length;
    for (const [oldest, { length }] of this.#kept) {
      if (this.#characters <= keptCharacters) break;
      this.#kept.delete(oldest);
      this.#characters -= length;
    }
  }
}
