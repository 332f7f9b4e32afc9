import type { JsonObject } from "../../lib/state/unrecognized.ts";
/** Values of JSON, told apart. */

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
