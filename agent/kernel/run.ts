/**
 * The only way to run a command: argv without a shell, a deadline, and a limit on output. Warnings on stderr are data.
 * An unexpected exit, a hang or truncated output is a `command-failed` error.
 */
import { execa } from "execa";
import { assertNever } from "../../lib/assert-never.ts";
import { GatewayError } from "../../lib/model/errors.ts";

/** Runs a command until it ends. */
export type Run = (argv: readonly string[], options?: CommandOptions) => Promise<CommandOutput>;

export interface CommandOptions {
  readonly stdin?: string;
  /** Ends the command. Not used for a transaction that has begun: that finishes or reaches its deadline. */
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
  /** Exit codes that are not failures. Default: only 0. */
  readonly exitCodes?: readonly number[];
}

export interface CommandOutput {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunFactoryOptions {
  /** Prepended to every command: `["ip", "netns", "exec", name]`. */
  readonly prefix?: readonly string[];
  /** Called for each started process, with the command's name. */
  readonly onStart?: (command: string) => void;
  readonly timeoutMs?: number;
  readonly maxOutputBytes?: number;
}

const defaultTimeoutMs = 30_000;
/** About a million rules. */
const defaultMaxOutputBytes = 128 * 1024 * 1024;
/** Time from SIGTERM to SIGKILL, and from there until a command that still runs is abandoned. */
const killAfterMs = 1_000;

export function createRun(factory: RunFactoryOptions = {}): Run {
  const { prefix = [], onStart, maxOutputBytes: maxBuffer = defaultMaxOutputBytes } = factory;
  return async (argv, options = {}) => {
    const {
      stdin = "",
      signal,
      exitCodes = [0],
      timeoutMs = factory.timeoutMs ?? defaultTimeoutMs,
    } = options;
    const [command = "", ...args] = [...prefix, ...argv];
    const name = argv[0] ?? "";
    if (signal?.aborted)
      throw failure(name, "cancelled", "was cancelled before it began", { cause: signal.reason });
    onStart?.(name);
    const subprocess = execa(command, args, {
      input: stdin,
      env: { LC_ALL: "C" },
      timeout: timeoutMs,
      forceKillAfterDelay: killAfterMs,
      maxBuffer,
      stripFinalNewline: false,
      reject: false,
      ...(signal === undefined ? {} : { cancelSignal: signal }),
    });
    const result = await withTimeout(subprocess, timeoutMs, signal);
    if (result === undefined) {
      subprocess.stdout.destroy();
      subprocess.stderr.destroy();
      throw failure(name, "hung", `hangs: it did not end within ${timeoutMs} ms, nor after SIGKILL`);
    }
    const { exitCode, stdout, stderr } = result;
    const ending = endingOf(result);
    if (ending === "exited" && exitCode !== undefined && exitCodes.includes(exitCode))
      return { exitCode, stdout, stderr };
    throw failure(name, ending, failureText(ending, result, timeoutMs), {
      cause: result.isCanceled ? signal?.reason : result.cause,
      exitCode,
      stderr,
    });
  };
}

/** How a command ended. `details.ending` of the error, if this was not expected. */
export type Ending = "exited" | "timed-out" | "cancelled" | "cut-short" | "killed" | "not-started" | "hung";

interface Outcome {
  readonly exitCode?: number | undefined;
  readonly signal?: string | undefined;
  readonly originalMessage?: string | undefined;
  readonly failed: boolean;
  readonly timedOut: boolean;
  readonly isCanceled: boolean;
  readonly isMaxBuffer: boolean;
}

/**
 * Waits for the end, but not much longer than the deadline. `undefined` if the command did not even end by SIGKILL: it
 * sleeps in the kernel, or a child process holds its pipes.
 */
async function withTimeout<T>(
  subprocess: Promise<T>,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<T | undefined> {
  const { promise: abandoned, resolve } = Promise.withResolvers<undefined>();
  const abandon = () => resolve(undefined);
  let patience = setTimeout(abandon, timeoutMs + 2 * killAfterMs);
  const onAbort = () => {
    clearTimeout(patience);
    patience = setTimeout(abandon, 2 * killAfterMs);
  };
  signal?.addEventListener("abort", onAbort);
  try {
    return await Promise.race([subprocess, abandoned]);
  } finally {
    clearTimeout(patience);
    signal?.removeEventListener("abort", onAbort);
  }
}

function endingOf(outcome: Outcome): Exclude<Ending, "hung"> {
  if (outcome.timedOut) return "timed-out";
  if (outcome.isCanceled) return "cancelled";
  if (outcome.isMaxBuffer || (outcome.exitCode === 0 && outcome.failed)) return "cut-short";
  if (outcome.exitCode !== undefined) return "exited";
  return outcome.signal === undefined ? "not-started" : "killed";
}

function failureText(ending: Exclude<Ending, "hung">, outcome: Outcome, timeoutMs: number): string {
  switch (ending) {
    case "timed-out":
      return `did not end within ${timeoutMs} ms and was killed`;
    case "cancelled":
      return "was cancelled";
    case "cut-short":
      return `exceeded the output limit: ${outcome.originalMessage}`;
    case "exited":
      return `exited with ${outcome.exitCode}`;
    case "killed":
      return `was ended by signal ${outcome.signal}`;
    case "not-started":
      return `could not be started: ${outcome.originalMessage}`;
    default:
      return assertNever(ending);
  }
}

function failure(
  command: string,
  ending: Ending,
  what: string,
  more: { readonly cause?: unknown; readonly exitCode?: number | undefined; readonly stderr?: string } = {},
): GatewayError {
  const words = firstLines(more.stderr ?? "");
  return new GatewayError("command-failed", `${command} ${what}${words === "" ? "" : `: ${words}`}`, {
    cause: more.cause,
    details: {
      command,
      ending,
      ...(more.exitCode === undefined ? {} : { exitCode: more.exitCode }),
      ...(words === "" ? {} : { stderr: words }),
    },
  });
}

/** A tool's stderr, short enough for a message: its first non-empty lines, joined into one. */
export function firstLines(stderr: string, count = 4): string {
  const lines = stderr.split("\n").map((line) => line.trim());
  return lines
    .filter((line) => line !== "" && !line.startsWith("# Warning:"))
    .slice(0, count)
    .join("; ");
}
