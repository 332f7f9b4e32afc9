/** Records kernel events of a gateway with their times, to measure how long a repair took. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { hasGroups } from "../../agent/kernel/events/subscription.ts";
import { inNamespace } from "../support/in-namespace.ts";
import { until } from "../support/run.ts";

interface Event {
  readonly line: string;
  readonly atMs: number;
}

const commands = [
  ["nft", "monitor"],
  ["ip", "-4", "-o", "monitor", "address", "route", "link"],
] as const;

export class EventTape {
  readonly #children: readonly ChildProcess[];
  readonly #events: Event[] = [];

  private constructor(namespace: string) {
    this.#children = commands.map((argv) => {
      const [command = "ip", ...args] = inNamespace(namespace, argv);
      const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
      let rest = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.#events.push({ line, atMs: performance.now() });
      });
      return child;
    });
  }

  /** Recording has started when it resolves. */
  static async start(namespace: string): Promise<EventTape> {
    const tape = new EventTape(namespace);
    for (const { pid = 0 } of tape.#children) {
      await until("an event tape to listen", async () =>
        hasGroups(await readFile(`/proc/${pid}/net/netlink`, "latin1"), pid),
      );
    }
    return tape;
  }

  stop(): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }

  /** Milliseconds from the first new event that matches `broken` to the next one that matches `repaired`. */
  async timeRepair(act: () => Promise<unknown>, broken: RegExp, repaired: RegExp): Promise<number> {
    const from = this.#events.length;
    await act();
    return until(`${repaired} after ${broken}`, () => {
      const start = this.#events.findIndex(({ line }, at) => at >= from && broken.test(line));
      if (start < 0) return undefined;
      const end = this.#events.findIndex(({ line }, at) => at > start && repaired.test(line));
      return end < 0 ? undefined : (this.#events[end]?.atMs ?? 0) - (this.#events[start]?.atMs ?? 0);
    });
  }
}
