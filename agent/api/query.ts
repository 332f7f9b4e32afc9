/** Query parameters. Parsed only here. */
import { type TSchema, Type } from "typebox";
import { parseDurationMs } from "../config/values.ts";
import { invalid } from "./validation.ts";

/** Maximum `?wait` in milliseconds. */
export const maxWaitMs = 300_000;

export const waitParameter = Type.String({
  maxLength: 16,
  description: "A duration such as 500ms, 5s or 1m; at most 5m",
});
/** `documented`: what the OpenAPI document shows, because a client writes it as the same text. */
export const flagParameter = Type.Enum(["true", "false"], { documented: { type: "boolean" } });

/** A query schema that refuses unknown parameters. */
export function querySchema<P extends Record<string, TSchema>>(parameters: P) {
  return Type.Object(parameters, { additionalProperties: false });
}

export const writeParameters = {
  wait: Type.Optional(waitParameter),
  dryRun: Type.Optional(flagParameter),
};

/** The query of every write, as text. */
export interface WriteQuery {
  readonly wait?: string;
  readonly dryRun?: string;
}

/**
 * `undefined` if the parameter is absent.
 * @throws `invalid` if it is not a duration, or above {@link maxWaitMs}
 */
export function parseWait(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const waitMs = parseDurationMs(text);
  if (waitMs !== undefined && waitMs <= maxWaitMs) return waitMs;
  throw invalid([{ pointer: "/query/wait", message: "must be a duration such as 500ms or 5s, at most 5m" }]);
}

export function parseFlag(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : text === "true";
}

/** A revision that the caller knows from an earlier answer. */
export const revisionParameter = Type.String({
  pattern: "^(?:0|[1-9][0-9]{0,14})$",
  description: "A revision of the desired set, such as 17",
  documented: { type: "integer", minimum: 0 },
});

/** Of a list. {@link parseLimit} parses it. */
export function limitParameter(limits: { readonly default: number; readonly most: number }) {
  return Type.String({
    pattern: "^[0-9]{1,4}$",
    description: `A number from 1 to ${limits.most}; ${limits.default} if absent`,
    documented: { type: "integer", minimum: 1, maximum: limits.most },
  });
}

/** @throws `invalid` if it is outside 1 to `most` */
export function parseLimit(
  text: string | undefined,
  limits: { readonly default: number; readonly most: number },
): number {
  if (text === undefined) return limits.default;
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= limits.most) return limit;
  throw invalid([{ pointer: "/query/limit", message: `must be a number from 1 to ${limits.most}` }]);
}
