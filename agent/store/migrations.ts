import type { JsonObject } from "../../lib/state/unrecognized.ts";

/**
 * The formats of the stored state, and the step from each to the next. A step takes a snapshot as the older version wrote
 * it. Changes read the same in every format so far.
 *
 * What a version may add without a new format, docs/adr/ says: a format is needed only where an older version must not
 * use what it reads.
 */

/** The step at index 0 leads from format 1 to format 2. */
const steps: readonly ((snapshot: JsonObject) => JsonObject)[] = [withObjects];

export const currentFormat = steps.length + 1;

/** A snapshot of `format` as one of {@link currentFormat}. */
export function migrate(snapshot: JsonObject, format: number): JsonObject {
  return steps.slice(format - 1).reduce((migrated, step) => step(migrated), snapshot);
}

/** Format 1 has the collections of objects among the other members, so that an unknown one cannot be told from them. */
function withObjects(snapshot: JsonObject): JsonObject {
  const isCollection = ([name, value]: [string, unknown]) =>
    Array.isArray(value) && name !== "tombstones" && name !== "leases";
  const members = Object.entries(snapshot);
  return {
    ...Object.fromEntries(members.filter((member) => !isCollection(member))),
    objects: Object.fromEntries(members.filter(isCollection)),
  };
}
