/** Values of JSON, told apart. */
import type { JsonObject } from "../../lib/model/unrecognized.ts";

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
