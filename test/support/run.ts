/** Commands and waiting: each bounded, so that a test that goes wrong ends with words instead of a hang. */
import { setTimeout as delay } from "node:timers/promises";
import { execa } from "execa";

export interface RunOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs a command to its end and returns what it printed; throws with its stderr where it failed. */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { input = "", timeoutMs = 20_000, env = {} } = options;
  const { stdout } = await execa(command, args, { input, timeout: timeoutMs, env, stripFinalNewline: false });
  return stdout;
}

/** Asks again and again until `ask` gives something else than `undefined` or false; throws, naming `what`, at the deadline. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 10_000,
): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain for ${what}`);
    await delay(10);
  }
}
