/** The events of `GET /v1/events`. docs/api.md explains each type. */
import type { ObjectId } from "../model/names.ts";

export const eventTypes = ["object", "drift", "repair", "pass", "degraded", "conflict", "resync"] as const;
export type EventType = (typeof eventTypes)[number];

/** Everything but changes of objects, which are made when they are read, and `resync`, which is for one reader. */
export type OccurrenceType = Exclude<EventType, "object" | "resync">;

/** Something that happened. Its text is made at once, because nothing keeps what it describes. */
export interface Occurrence {
  readonly type: OccurrenceType;
  /** The objects that it concerns. `many`: so many that nobody counted them. */
  readonly about: ReadonlySet<ObjectId> | "many";
  /** One line of JSON. */
  readonly data: string;
}
