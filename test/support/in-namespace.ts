/**
 * Runs commands inside a network namespace. Shells stay there and run one command after the other: a process that Node starts
 * costs several times what one costs that a shell starts, and `ip netns exec` mounts /sys each time.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import type { RunOptions } from "./run.ts";

/** The command line that runs `argv` inside a namespace. `ip` execs it, so the pid is that of the command. */
export function inNamespace(namespace: string, argv: readonly string[]): readonly string[] {
  return ["ip", "netns", "exec", namespace, ...argv];
}

/**
 * The same for a Node program of ours, without the options that the test runner adds to every Node process. `launcher`
 * is put before Node's command line.
 */
export function nodeInNamespace(
  namespace: string,
  args: readonly string[],
  launcher: readonly string[] = [],
): readonly string[] {
  return inNamespace(namespace, ["env", "-u", "NODE_OPTIONS", ...launcher, process.execPath, ...args]);
}

/** Runs a command to its end and returns its output. On failure throws with its stderr. */
export async function runIn(
  namespace: string,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { exitCode, stdout, stderr } = await callIn(namespace, argv, options);
  if (exitCode === 0) return stdout;
  throw new Error(`${argv.join(" ")} ${endingOf(exitCode)}\n\n${stderr}\n\n${stdout}`);
}

/** A shell's exit code for a command that a signal ended is higher by this than the signal's number. */
const signalBase = 128;

export interface CallResult {
  /** As a shell has it, also for a command that was killed. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The same, but a command that fails is a result, too. Throws if it does not end in time. */
export async function callIn(
  namespace: string,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<CallResult> {
  const shell = shellsOf(namespace).find(({ isBusy }) => !isBusy) ?? new Shell(namespace);
  shells.add(shell);
  return shell.call(argv, options);
}

/** Ends the shells of a namespace. */
export async function closeShells(namespace: string): Promise<void> {
  await Promise.all(shellsOf(namespace).map((shell) => shell.close()));
}

/** True for the shells that are kept for the next command. */
export function isShell(pid: number): boolean {
  return [...shells].some((shell) => shell.pid === pid);
}

const shells = new Set<Shell>();

function shellsOf(namespace: string): readonly Shell[] {
  return [...shells].filter((shell) => shell.namespace === namespace);
}

/** A shell with its commands on standard input. It ends with the process that made it. */
class Shell {
  readonly namespace: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended: Promise<unknown>;
  /** Printed after the output of a command, on both streams. No command prints it. */
  readonly #mark = `\u0004${randomUUID()}`;
  readonly #stdout: Output;
  readonly #stderr: Output;
  isBusy = false;

  constructor(namespace: string) {
    this.namespace = namespace;
    const [command = "ip", ...args] = inNamespace(namespace, ["sh"]);
    // In a process group of its own, so that what hangs can be killed with it.
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"], detached: true });
    this.#child.unref();
    const { stdin, stdout, stderr } = this.#child;
    for (const stream of [stdin, stdout, stderr]) (stream as unknown as Socket).unref();
    // The end of the shell is reported by its output.
    stdin.on("error", () => undefined);
    this.#stdout = new Output(stdout, this.#mark);
    this.#stderr = new Output(stderr, this.#mark);
    this.#ended = once(this.#child, "exit").finally(() => shells.delete(this));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  async call(
    argv: readonly string[],
    { input = "", timeoutMs = 20_000, env = {} }: RunOptions,
  ): Promise<CallResult> {
    this.isBusy = true;
    let isLate = false;
    const deadline = setTimeout(() => {
      isLate = true;
      this.#kill();
    }, timeoutMs);
    const results = Promise.all([this.#stdout.next(), this.#stderr.next()]);
    this.#child.stdin.write(this.#script(argv, input, env));
    const [[stdout, status], [stderr]] = await results;
    // A command ends with its shell, as when its namespace is deleted.
    const exitCode = status === undefined ? await this.#exitCode() : Number(status);
    clearTimeout(deadline);
    if (isLate) throw new Error(`${argv.join(" ")} did not end within ${timeoutMs} ms`);
    this.isBusy = false;
    return { stdout, stderr, exitCode };
  }

  async close(): Promise<void> {
    this.#child.ref();
    this.#kill();
    await this.#ended;
  }

  async #exitCode(): Promise<number> {
    shells.delete(this);
    await this.#ended;
    const { exitCode, signalCode } = this.#child;
    return exitCode ?? signalBase + constants.signals[signalCode ?? "SIGKILL"];
  }

  #kill(): void {
    shells.delete(this);
    if (this.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    process.kill(-this.pid, "SIGKILL");
  }

  #script(argv: readonly string[], input: string, env: Readonly<Record<string, string>>): string {
    const variables = Object.entries(env).map(([name, value]) => `${name}=${quoted(value)}`);
    const command = [...variables, ...argv.map(quoted)].join(" ");
    const lines = input.endsWith("\n") ? input : `${input}\n`;
    const stdin = input === "" ? "</dev/null" : `<<'${this.#mark}'\n${lines}${this.#mark}`;
    return `${command} ${stdin}\nprintf '%s %d\\n' '${this.#mark}' $?; echo '${this.#mark}' >&2\n`;
  }
}

/** The output of a command, and what is in the mark's line after it. `undefined`: the shell ended before. */
type CommandText = readonly [text: string, afterMark: string | undefined];

/** A stream with a mark after the output of each command. Only its end is searched: an output can have many megabytes. */
class Output {
  readonly #mark: string;
  readonly #chunks: string[] = [];
  /** The end of the output: long enough for a mark, an exit code and a line break. */
  #tail = "";
  #isClosed = false;
  #waiting: PromiseWithResolvers<CommandText> | undefined;

  constructor(stream: Readable, mark: string) {
    this.#mark = mark;
    stream.setEncoding("utf8");
    stream.on("data", (text: string) => {
      this.#chunks.push(text);
      this.#tail = (this.#tail + text).slice(-this.#mark.length - 8);
      this.#look();
    });
    stream.once("close", () => {
      this.#isClosed = true;
      this.#look();
    });
  }

  next(): Promise<CommandText> {
    this.#waiting = Promise.withResolvers();
    this.#look();
    return this.#waiting.promise;
  }

  #look(): void {
    const isComplete = this.#tail.endsWith("\n") && this.#tail.includes(this.#mark);
    if (this.#waiting === undefined || !(isComplete || this.#isClosed)) return;
    const text = this.#chunks.splice(0).join("");
    this.#tail = "";
    const at = isComplete ? text.lastIndexOf(this.#mark) : -1;
    this.#waiting.resolve(
      at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + this.#mark.length).trim()],
    );
    this.#waiting = undefined;
  }
}

function endingOf(exitCode: number): string {
  const signal = Object.entries(constants.signals).find(
    ([, number]) => number === exitCode - signalBase,
  )?.[0];
  return signal === undefined ? `failed with exit code ${exitCode}` : `was killed with ${signal}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
