/** A host of a lab, controlled from the test: one process in its namespace that serves and asks on request. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Answer, HostCalls, HostMethod, Progress, Target, Transport } from "./host-program.ts";
import { nodeInNamespace } from "./in-namespace.ts";
import type { HostName, Lab } from "./lab.ts";

/** The program's file, to start it manually: `node <file> --serve <host>`. */
export const hostProgram = fileURLToPath(new URL("host-program.ts", import.meta.url));

/** Enough for a lost SYN to be sent again. */
const answerTimeoutMs = 4_000;
/** Long enough for an answer on this machine, short enough when none is expected. */
const silenceTimeoutMs = 400;

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Host {
  readonly name: HostName;
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  private constructor(name: HostName, child: ChildProcess) {
    this.name = name;
    this.#child = child;
  }

  static async start(lab: Lab, name: HostName): Promise<Host> {
    const [command = "ip", ...args] = nodeInNamespace(lab.namespaceOf(name), [hostProgram]);
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    const host = new Host(name, child);
    host.#listen();
    await once(child, "spawn");
    return host;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.stdin?.end();
    await exited;
  }

  async serve(transport: Transport, ...ports: readonly number[]): Promise<void> {
    await Promise.all(ports.map((port) => this.#call("listen", { host: this.name, transport, port })));
  }

  /** Serves UDP on one address, which its answers have as source. */
  async serveUdpAt(address: string, ...ports: readonly number[]): Promise<void> {
    await Promise.all(
      ports.map((port) => this.#call("listen", { host: this.name, transport: "udp", port, address })),
    );
  }

  /** Which host answers, or why none does. TCP SYNs and UDP datagrams are repeated until the time is over. */
  ask(target: Target, timeoutMs = answerTimeoutMs): Promise<Answer | { readonly silence: string }> {
    return this.#call("ask", { ...target, timeoutMs });
  }

  /** True if nothing answers within a time that is enough for an answer. */
  async hearsNothing(target: Target): Promise<boolean> {
    return "silence" in (await this.ask(target, silenceTimeoutMs));
  }

  /** Opens a stream that sends without pause and checks what comes back. */
  async open(target: Target): Promise<HostStream> {
    const stream = ++this.#lastId;
    await this.#call("open", { ...target, stream });
    return {
      progress: () => this.#call("progress", { stream }),
      advance: (by, timeoutMs = answerTimeoutMs) => this.#call("advance", { stream, by, timeoutMs }),
      close: () => this.#call("close", { stream }),
    };
  }

  /** Opens `count` flows. Returns how many were seen with which source address. */
  flood(target: Target, count: number): Promise<Readonly<Record<string, number>>> {
    return this.#call("flood", { ...target, count, timeoutMs: answerTimeoutMs });
  }

  #call<M extends HostMethod>(method: M, params: HostCalls[M][0]): Promise<HostCalls[M][1]> {
    const id = ++this.#lastId;
    return new Promise<HostCalls[M][1]>((resolve, reject) => {
      this.#pending.set(id, { resolve: (result) => resolve(result as HostCalls[M][1]), reject });
      this.#child.stdin?.write(`${JSON.stringify({ id, method, params })}\n`);
    });
  }

  #listen(): void {
    const { stdout } = this.#child;
    if (stdout === null) throw new Error("the host's standard output is not a pipe");
    createInterface({ input: stdout }).on("line", (line) => {
      const reply = JSON.parse(line) as { id: number; result?: unknown; error?: string };
      const pending = this.#pending.get(reply.id);
      this.#pending.delete(reply.id);
      if (reply.error === undefined) pending?.resolve(reply.result);
      else pending?.reject(new Error(`${this.name}: ${reply.error}`));
    });
    this.#child.once("exit", () => {
      for (const { reject } of this.#pending.values()) reject(new Error(`${this.name} ended`));
      this.#pending.clear();
    });
  }
}

export interface HostStream {
  progress(): Promise<Progress>;
  /** True when `by` more came back. False if the stream ended or nothing came. */
  advance(by: number, timeoutMs?: number): Promise<boolean>;
  close(): Promise<Progress>;
}
