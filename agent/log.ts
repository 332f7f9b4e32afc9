/** The agent's log: one JSON object per line on stdout. */
import { type DestinationStream, type Logger, pino } from "pino";
import { GatewayError } from "../lib/model/errors.ts";

export const logLevels = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** The part of the log that components use. Call it with the object first, then a constant message. */
export type Log = Pick<Logger, "fatal" | "error" | "warn" | "info" | "debug" | "trace">;

/** Fields of every line of this process. */
export interface LogBase {
  readonly version: string;
}

/**
 * Creates the log. Host name and pid are left out: the log collector adds the pod's name, and in a container the pid is
 * always the same.
 */
export function createLog(level: LogLevel, base: LogBase, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { ...base },
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: serializeError },
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}

/**
 * Limits how often `write` runs: the first call runs it at once, later calls at most once per `periodMs`. Each run gets
 * the number of calls that it stands for.
 */
export function atMostOncePer<T>(
  periodMs: number,
  write: (about: T, times: number) => void,
): (about: T) => void {
  let times = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  return (about) => {
    times += 1;
    const nowMs = performance.now();
    if (nowMs - lastMs < periodMs) return;
    write(about, times);
    [times, lastMs] = [0, nowMs];
  };
}

export interface SerializedError {
  readonly type: string;
  readonly message: string;
  readonly code?: string;
  readonly issues?: readonly unknown[];
  readonly details?: Readonly<Record<string, unknown>>;
  readonly stack?: string;
  readonly cause?: unknown;
  /** The errors of an AggregateError. */
  readonly errors?: readonly unknown[];
}

/** Deeper causes are cut off: a chain of causes may contain a cycle. */
const maxCauses = 8;

/** An error for the log: its type, its code and the whole chain of causes. */
export function serializeError(error: unknown): unknown {
  return serialize(error, 0);
}

function serialize(error: unknown, depth: number): unknown {
  if (!(error instanceof Error)) return error;
  const code = "code" in error ? error.code : undefined;
  const gateway = error instanceof GatewayError ? error : undefined;
  return {
    type: error.name,
    message: error.message,
    ...(code !== undefined && { code: String(code) }),
    ...(gateway && gateway.issues.length > 0 && { issues: gateway.issues }),
    ...(gateway && Object.keys(gateway.details).length > 0 && { details: gateway.details }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(error.cause !== undefined && depth < maxCauses && { cause: serialize(error.cause, depth + 1) }),
    ...(error instanceof AggregateError &&
      depth < maxCauses && { errors: error.errors.map((inner: unknown) => serialize(inner, depth + 1)) }),
  } satisfies SerializedError;
}
