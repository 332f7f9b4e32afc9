import type { JsonObject } from "../../lib/state/unrecognized.ts";

/**
 * The formats of the stored state, and the step from each format to the next. A step converts a snapshot of the older
 * format. Changes have the same encoding in every format so far.
 *
 * A new format is needed only if an older version must not use the data that it reads; see docs/adr/0008-formats.md.
 */

/** Index 0 converts format 1 to format 2. */
const steps: readonly ((snapshot: JsonObject) => JsonObject)[] = [withObjects];

export const currentFormat = steps.length + 1;

/** Converts a snapshot of `format` to {@link currentFormat}. */
export function migrate(snapshot: JsonObject, format: number): JsonObject {
  return steps.slice(format - 1).reduce((migrated, step) => step(migrated), snapshot);
}

/**
 * In format 1 the object collections stand beside the other members, so an unknown collection looks like any member.
 */
function withObjects(snapshot: JsonObject): JsonObject {
  const isCollection = ([name, value]: [string, unknown]) =>
    Array.isArray(value) && name !== "tombstones" && name !== "leases";
  const members = Object.entries(snapshot);
  return {
    ...Object.fromEntries(members.filter((member) => !isCollection(member))),
    objects: Object.fromEntries(members.filter(isCollection)),
  };
}
