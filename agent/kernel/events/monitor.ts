/**
 * A monitor command kept alive. Kernel events are read by a child, so that an overrun or a malformed message
 * ends the child at worst. What the child prints is always read: a full pipe would stop it, and the
 * kernel would throw away what it then did not fetch.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { accessSync, constants as fs } from "node:fs";
import { delimiter, join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../../log.ts";
import { isSubscribed } from "./subscription.ts";

export interface MonitorOptions {
  readonly argv: readonly [command: string, ...args: string[]];
  /** Part of the child's standard output as it comes, in order, cut anywhere. */
  readonly onOutput: (text: string) => void;
  /** The same of standard error. */
  readonly onComplaint: (text: string) => void;
  /** Events may have been lost: the child ended, or one that was started again listens now. */
  readonly onLost: (reason: string) => void;
  readonly log: Log;
  /** The pause before the first restart; doubles up to {@link maxPauseMs}. */
  readonly firstPauseMs?: number;
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

const maxPauseMs = 10_000;
/** A child that lived this long was well: the next pause is the first one again. */
const settledMs = 10_000;
/** A child that does not show as subscribed by then is taken for listening all the same. */
const subscribeTimeoutMs = 2_000;
const subscribePollMs = 5;

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #name: string;
  #stop: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#name = options.argv[0];
  }

  /** Resolves once the child listens, or once it is clear that this one will not soon; goes on trying then. */
  start(): Promise<void> {
    if (this.#stop !== undefined) return Promise.resolve();
    const stop = new AbortController();
    this.#stop = stop;
    return new Promise((resolve) => {
      this.#running = this.#keepAlive(stop.signal, resolve);
    });
  }

  async stop(): Promise<void> {
    this.#stop?.abort();
    await this.#running;
    this.#stop = undefined;
  }

  async #keepAlive(signal: AbortSignal, onFirstTry: () => void): Promise<void> {
    const { onLost, log, firstPauseMs = 100 } = this.#options;
    let pauseMs = firstPauseMs;
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      const startedAt = performance.now();
      const end = await this.#live(signal, () => {
        if (!isFirst) onLost(`${this.#name} monitor was started again`);
        onFirstTry();
      });
      onFirstTry();
      if (signal.aborted) return;
      onLost(`${this.#name} monitor ended`);
      if (performance.now() - startedAt > settledMs) pauseMs = firstPauseMs;
      log.warn({ monitor: this.#name, end, pauseMs }, "kernel event monitor ended; starting it again");
      await delay(pauseMs, undefined, { signal }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, maxPauseMs);
    }
  }

  /** One child from its start to its end. @returns how it ended. */
  async #live(signal: AbortSignal, onListening: () => void): Promise<string> {
    const { argv, onOutput, onComplaint } = this.#options;
    const [command, ...args] = dyingWithParent(argv);
    // An english complaint can be told from others.
    const env = { ...process.env, LC_ALL: "C" };
    const child: Child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env,
      killSignal: "SIGKILL",
    });
    const ended = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("close", (code, killedBy) => resolve(`exit ${code ?? killedBy}`));
    });
    child.stdout.setEncoding("latin1").on("data", onOutput);
    child.stderr.setEncoding("latin1").on("data", onComplaint);
    const kill = () => child.kill("SIGKILL");
    signal.addEventListener("abort", kill);

    const watch = new AbortController();
    void ended.then(() => watch.abort());
    const subscribed = untilSubscribed(child.pid, watch.signal).then((isListening) => {
      if (isListening) onListening();
    });
    const end = await ended;
    await subscribed;
    signal.removeEventListener("abort", kill);
    return end;
  }
}

/** False where the child did not start, or ended first. */
async function untilSubscribed(pid: number | undefined, ended: AbortSignal): Promise<boolean> {
  if (pid === undefined) return false;
  const deadline = performance.now() + subscribeTimeoutMs;
  while (!ended.aborted && !(await isSubscribed(pid))) {
    if (performance.now() > deadline) break;
    await delay(subscribePollMs);
  }
  return !ended.aborted;
}

/**
 * The kernel ends the child when the agent dies, kill -9 included: a monitor that waits for events would never
 * notice that nobody reads it. Without util-linux's `setpriv` it lives on until its next event.
 */
function dyingWithParent(argv: MonitorOptions["argv"]): readonly [string, ...string[]] {
  return isInstalled("setpriv") ? ["setpriv", "--pdeathsig", "KILL", ...argv] : argv;
}

function isInstalled(command: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), fs.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
