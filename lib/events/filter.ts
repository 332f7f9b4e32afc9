/** Which events a reader wants. */
import { type Kind, type ObjectId, parseObjectId } from "../model/names.ts";
import type { LoggedEvent } from "./event-log.ts";
import { type EventType, eventTypes } from "./event-types.ts";

/** An absent member wants all. `resync` is always wanted. */
export interface EventFilter {
  readonly types?: ReadonlySet<EventType>;
  readonly kinds?: ReadonlySet<Kind>;
  readonly names?: ReadonlySet<string>;
}

/** These concern no object. */
const aboutNone: ReadonlySet<EventType> = new Set(["pass", "degraded"]);

/** The types of which a reader may get events. */
export function typesOf({ types, kinds, names }: EventFilter): readonly EventType[] {
  const isForObjects = kinds !== undefined || names !== undefined;
  return eventTypes.filter((type) => (types?.has(type) ?? true) && !(isForObjects && aboutNone.has(type)));
}

/**
 * With `kinds` or `names`, an event is wanted if it concerns such an object. One that concerns uncounted objects may
 * concern such a one.
 */
export function isWanted({ types, kinds, names }: EventFilter, event: LoggedEvent): boolean {
  if (types !== undefined && !types.has(event.type)) return false;
  if (kinds === undefined && names === undefined) return true;
  const isNamed = (id: ObjectId): boolean => {
    const { kind, name } = parseObjectId(id);
    return (kinds?.has(kind) ?? true) && (names?.has(name) ?? true);
  };
  if (event.type === "object") return isNamed(event.id);
  return event.about === "many" || event.about.values().some(isNamed);
}
