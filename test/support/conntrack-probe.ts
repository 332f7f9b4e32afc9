/** Runs {@link ./conntrack-program.ts} in a gateway's namespace and calls it from the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { ConntrackCalls } from "./conntrack-program.ts";
import { inNamespace } from "./in-namespace.ts";

const programFile = fileURLToPath(new URL("conntrack-program.ts", import.meta.url));

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class ConntrackProbe {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  constructor(namespace: string) {
    const [command = "ip", ...args] = inNamespace(namespace, [process.execPath, programFile]);
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#child = child;
    createInterface({ input: child.stdout }).on("line", (line) => this.#settle(line));
    child.once("exit", () => {
      for (const { reject } of this.#pending.values()) reject(new Error("the probe ended"));
      this.#pending.clear();
    });
  }

  call<M extends keyof ConntrackCalls>(
    method: M,
    params: ConntrackCalls[M][0],
  ): Promise<ConntrackCalls[M][1]> {
    const id = ++this.#lastId;
    return new Promise<ConntrackCalls[M][1]>((resolve, reject) => {
      this.#pending.set(id, { resolve: (result) => resolve(result as ConntrackCalls[M][1]), reject });
      this.#child.stdin?.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.stdin?.end();
    await exited;
  }

  #settle(line: string): void {
    const reply = JSON.parse(line) as { id: number; result?: unknown; error?: string };
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.error === undefined) pending?.resolve(reply.result);
    else pending?.reject(new Error(reply.error));
  }
}
