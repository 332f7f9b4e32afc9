/** A host of a lab, controlled from the test: it serves and asks on request, in its namespace. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Answer, HostCalls, HostMethod, Progress, Target, Transport } from "./host-program.ts";
import type { HostName, Lab } from "./lab.ts";

/** The program's file, to start it manually: `node <file> --serve <host>`. */
export const hostProgram = fileURLToPath(new URL("host-program.ts", import.meta.url));

/** Enough for a lost SYN to be sent again. */
const answerTimeoutMs = 4_000;
/** Long enough for an answer on this machine, short enough when none is expected. */
const silenceTimeoutMs = 400;

export class Host {
  readonly name: HostName;
  readonly #namespace: string;

  constructor(lab: Lab, name: HostName) {
    this.name = name;
    this.#namespace = lab.namespaceOf(name);
  }

  /** Closes its sockets. */
  async stop(): Promise<void> {
    if (program !== undefined) await this.#call("stop", null);
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
    const stream = await this.#call("open", target);
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

  async #call<M extends HostMethod>(method: M, params: HostCalls[M][0]): Promise<HostCalls[M][1]> {
    program ??= new Program();
    try {
      return (await program.call(this.#namespace, method, params)) as HostCalls[M][1];
    } catch (error) {
      throw new Error(`${this.name}: ${error}`);
    }
  }
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** All hosts of a test are one process, which ends with the test's. */
let program: Program | undefined;

class Program {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  constructor() {
    const { NODE_OPTIONS: _, ...env } = process.env;
    this.#child = spawn(process.execPath, [hostProgram], { stdio: ["pipe", "pipe", "inherit"], env });
    this.#child.unref();
    (this.#child.stdin as unknown as Socket).unref();
    // Its end is reported by its exit.
    this.#child.stdin.on("error", () => undefined);
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const { id, result, error } = JSON.parse(line) as { id: number; result?: unknown; error?: string };
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      this.#holdProcess();
      if (error === undefined) pending?.resolve(result);
      else pending?.reject(error);
    });
    this.#child.once("exit", () => {
      program = undefined;
      for (const { reject } of this.#pending.values()) reject("the hosts' process ended");
    });
  }

  call(namespace: string, method: HostMethod, params: unknown): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#holdProcess();
      this.#child.stdin.write(`${JSON.stringify({ id, namespace, method, params })}\n`);
    });
  }

  /** While an answer is awaited, this process does not end. */
  #holdProcess(): void {
    const stdout = this.#child.stdout as unknown as Socket;
    if (this.#pending.size > 0) stdout.ref();
    else stdout.unref();
  }
}

export interface HostStream {
  progress(): Promise<Progress>;
  /** True when `by` more came back. False if the stream ended or nothing came. */
  advance(by: number, timeoutMs?: number): Promise<boolean>;
  close(): Promise<Progress>;
}
