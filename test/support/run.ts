/** Commands and waiting, each with a deadline, so that a broken test ends with a message instead of a hang. */
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";

export interface RunOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command to its end and returns its output. On failure throws with its stderr. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { input = "", timeoutMs = 20_000, env = {} } = options;
  const { stdout } = await execa(command, args, { input, timeout: timeoutMs, env, stripFinalNewline: false });
  return stdout;
}

/** Pauses of `until`: a tenth of the time that has passed, within these limits, so that long waits cost little CPU time. */
const shortestPauseMs = 10;
const longestPauseMs = 250;

/**
 * Calls `ask` repeatedly until it returns something other than `undefined` or false. At the deadline throws with
 * `what`.
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 60_000,
): Promise<T> {
  const begunMs = performance.now();
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    const passedMs = performance.now() - begunMs;
    if (passedMs > deadlineMs) throw new Error(`timed out after ${deadlineMs} ms waiting for ${what}`);
    await pauseAfter(passedMs);
  }
}

/** The pause before asking again what was asked for `passedMs` already. */
export function pauseAfter(passedMs: number): Promise<void> {
  return delay(Math.min(Math.max(passedMs / 10, shortestPauseMs), longestPauseMs));
}
