/** Monitors a namespace and measures the time between two lines. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { inNamespace } from "../support/in-namespace.ts";

const longestMs = 60_000;
/** A monitor reads the current state before it listens. */
const settleMs = 1_500;

export class EventWatch {
  readonly #child: ChildProcess;
  #onLine: (line: string) => void = () => undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout !== null)
      createInterface({ input: child.stdout }).on("line", (line) => this.#onLine(line));
  }

  static async start(namespace: string, argv: readonly string[]): Promise<EventWatch> {
    const [file = "ip", ...args] = inNamespace(namespace, argv);
    const watch = new EventWatch(spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] }));
    await delay(settleMs);
    return watch;
  }

  /** Milliseconds from the next line that matches `first` to the next one after it that matches `second`. */
  next(first: RegExp, second: RegExp): Promise<number> {
    return new Promise((resolve, reject) => {
      let begun: number | undefined;
      const timer = setTimeout(() => {
        const missed = begun === undefined ? first : second;
        reject(new Error(`timed out after ${longestMs} ms waiting for an event like ${missed.source}`));
      }, longestMs);
      this.#onLine = (line) => {
        if (begun === undefined) {
          if (first.test(line)) begun = performance.now();
        } else if (second.test(line)) {
          clearTimeout(timer);
          resolve(performance.now() - begun);
        }
      };
    });
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}
