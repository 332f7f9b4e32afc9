/**
 * A monitor command that is kept running. A child process reads kernel events, so an overrun or a malformed message can
 * only end the child. Its output is always read: with a full pipe it would stop, and the kernel would drop further
 * events.
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
  /** A part of the child's stdout as it arrives, in order, cut at any byte. */
  readonly onOutput: (text: string) => void;
  /** The same for stderr. */
  readonly onComplaint: (text: string) => void;
  /** Events may have been lost: the child ended, or a restarted one listens now. */
  readonly onLost: (reason: string) => void;
  /** The first child listens only now: what happened after {@link Monitor.start} resolved was not heard. */
  readonly onLate: () => void;
  readonly log: Log;
  /** The pause in ms before the first restart. It doubles up to {@link maxPauseMs}. */
  readonly firstPauseMs?: number;
  /** How long {@link Monitor.start} waits for the child to listen, in ms. */
  readonly patienceMs?: number;
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

const maxPauseMs = 10_000;
/** After a child lived this long, the next pause is the first one again. */
const settledMs = 10_000;
/** A child that is not seen as subscribed by then counts as listening. */
const subscribeTimeoutMs = 10_000;
const subscribePollMs = 5;
/** `nft monitor` reads the whole ruleset before it listens: 1.5 s with 20,000 rules of iptables-nft. */
const defaultPatienceMs = 100;

export class Monitor {
  readonly #options: MonitorOptions;
  readonly #name: string;
  #stop: AbortController | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#name = options.argv[0];
  }

  /** Resolves when the child listens, or when it will not soon. Keeps trying after that. */
  async start(): Promise<void> {
    if (this.#stop !== undefined) return;
    const { onLate, patienceMs = defaultPatienceMs } = this.#options;
    const stop = new AbortController();
    this.#stop = stop;
    const listening = new Promise<void>((resolve) => {
      this.#running = this.#keepAlive(stop.signal, resolve);
    });
    const patience = new AbortController();
    const outOfPatience = delay(patienceMs, true, { signal: patience.signal });
    const isLate = await Promise.race([listening.then(() => false), outOfPatience]);
    patience.abort();
    if (isLate) void listening.then(() => !stop.signal.aborted && onLate());
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
        if (!isFirst) onLost(`${this.#name} monitor was restarted`);
        onFirstTry();
      });
      onFirstTry();
      if (signal.aborted) return;
      onLost(`${this.#name} monitor ended`);
      if (performance.now() - startedAt > settledMs) pauseMs = firstPauseMs;
      log.warn({ monitor: this.#name, end, pauseMs }, "kernel event monitor ended; restarting it");
      await delay(pauseMs, undefined, { signal }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, maxPauseMs);
    }
  }

  /**
   * Runs one child from start to end.
   * @returns how it ended
   */
  async #live(signal: AbortSignal, onListening: () => void): Promise<string> {
    const { argv, onOutput, onComplaint } = this.#options;
    const [command, ...args] = dyingWithParent(argv);
    // The error patterns are English.
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

/** False if the child did not start, or ended before it subscribed. */
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
 * The kernel ends the child when the agent dies, also by kill -9: a monitor waiting for events would not notice that
 * its reader is gone. Without `setpriv` (util-linux) it lives until its next event.
 */
function dyingWithParent(argv: MonitorOptions["argv"]): readonly [string, ...string[]] {
  return isInstalled("setpriv") ? ["setpriv", "--pdeathsig", "KILL", ...argv] : argv;
}

/** True if the command is on PATH. */
export function isInstalled(command: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, command), fs.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
