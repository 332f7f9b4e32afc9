/** Query parameters: text on the wire, parsed here and nowhere else. */
import { type TSchema, Type } from "typebox";
import { parseDurationMs } from "../config/values.ts";
import { invalid } from "./validation.ts";

/** The longest that a request may wait for its objects. */
export const maxWaitMs = 300_000;

const flag = Type.Enum(["true", "false"]);

export const waitParameter = Type.String({
  maxLength: 16,
  description: "A duration such as 500ms, 5s or 1m; at most 5m",
});
export const flagParameter = flag;

/** A query that refuses what it does not know. */
export function querySchema<P extends Record<string, TSchema>>(parameters: P) {
  return Type.Object(parameters, { additionalProperties: false });
}

export const writeParameters = {
  wait: Type.Optional(waitParameter),
  dryRun: Type.Optional(flagParameter),
};

/** `undefined` where the parameter is absent. @throws `invalid` where it is no duration, or above {@link maxWaitMs}. */
export function parseWait(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const waitMs = parseDurationMs(text);
  if (waitMs !== undefined && waitMs <= maxWaitMs) return waitMs;
  throw invalid([{ pointer: "/query/wait", message: "must be a duration such as 500ms or 5s, at most 5m" }]);
}

export function parseFlag(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : text === "true";
}
