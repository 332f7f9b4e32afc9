/** Reads arguments: kinds, references to objects, durations, numbers. */
import { type Collection, collections } from "../../lib/model/names.ts";
import { UsageFailure } from "./failures.ts";

/** `fip`, `fips`, `Fip` or `FIPS`. */
export function parseKind(text: string): Collection {
  const lower = text.toLowerCase();
  const found = collections.find((collection) => lower === collection || `${lower}s` === collection);
  if (found !== undefined) return found;
  throw new UsageFailure(`no kind ${text}: use one of ${collections.join(", ")}`);
}

export interface Reference {
  readonly collection: Collection;
  readonly name: string;
}

/** `fips fip-a` or `fips/fip-a`. */
export function parseReference(kind: string, name: string | undefined): Reference {
  const { collection, name: found } = parsePossibleReference(kind, name);
  if (found === undefined) throw new UsageFailure(`the name is missing: ${kind} NAME, or ${kind}/NAME`);
  return { collection, name: found };
}

/** The same; the name may be absent. */
export function parsePossibleReference(
  kind: string,
  name: string | undefined,
): { readonly collection: Collection; readonly name: string | undefined } {
  const slash = kind.indexOf("/");
  if (slash === -1) return { collection: parseKind(kind), name };
  if (name !== undefined) throw new UsageFailure(`two names: ${kind} and ${name}`);
  return { collection: parseKind(kind.slice(0, slash)), name: kind.slice(slash + 1) };
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A duration such as `500ms`, `30s`, `5m`, `1h`, or `0`, in ms. */
export function parseDuration(text: string, option: string, mostMs = Number.POSITIVE_INFINITY): number {
  const [, digits = "", unit = ""] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  const durationMs = text === "0" ? 0 : Number(digits) * (units[unit] ?? Number.NaN);
  if (digits === "" && text !== "0")
    throw new UsageFailure(`${option} must be a duration such as 30s, not ${text}`);
  if (durationMs > mostMs)
    throw new UsageFailure(`${option} must be at most ${mostMs / 60_000}m, not ${text}`);
  return durationMs;
}

export function parseNumber(text: string, option: string, least: number, most: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new UsageFailure(`${option} must be a number from ${least} to ${most}, not ${text}`);
}

export function parseFlag(text: string, option: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new UsageFailure(`${option} must be true or false, not ${text}`);
}

/** A time of RFC 3339, or a duration back from now, in ms since the epoch. */
export function parseTime(text: string, option: string, nowMs: number): number {
  if (/^\d+(?:ms|[smhd])$/.test(text)) return nowMs - parseDuration(text, option);
  const timeMs = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(timeMs))
    throw new UsageFailure(
      `${option} must be a time such as 2026-01-01T12:00:00Z, or how long ago, such as 10m, not ${text}`,
    );
  return timeMs;
}
