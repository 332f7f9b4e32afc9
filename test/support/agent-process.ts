/** The real daemon in a lab's gateway, as shipped: starts it, waits for it, stops and kills it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ApiClient } from "./api-client.ts";
import { nodeInNamespace } from "./in-namespace.ts";
import type { Lab } from "./lab.ts";
import { pauseAfter, until } from "./run.ts";

/** The output of `npm run build`. `scripts/test` builds it again before its kernel tests. */
const agentMain = fileURLToPath(new URL("../../dist/agent/main.js", import.meta.url));

export interface AgentOptions {
  /** The daemon's entry file. Absent: the bundle. */
  readonly main?: string;
  readonly stateDirectory: string;
  readonly socketPath: string;
  /** Put first on PATH, and given to the daemon as `TEST_TOOLS`. */
  readonly toolDirectory?: string;
  /** Put before the daemon's command line: it runs it with fewer rights, by the same pid. */
  readonly confinement?: readonly string[];
  /** Additional NATGW_ settings. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Long, because the machine may be busy. Nothing waits longer than needed. */
const startTimeoutMs = 90_000;
const stopTimeoutMs = 60_000;
/** Longest pause while nothing is logged. */
const silencePauseMs = 200;

export function agentEnvironment(options: AgentOptions): Record<string, string> {
  const path = process.env.PATH ?? "/usr/sbin:/usr/bin:/sbin:/bin";
  const tools = options.toolDirectory;
  const compiled = process.env.NODE_COMPILE_CACHE;
  return {
    ...(tools === undefined ? { PATH: path } : { PATH: `${tools}:${path}`, TEST_TOOLS: tools }),
    ...(compiled !== undefined && { NODE_COMPILE_CACHE: compiled }),
    NATGW_STATE_DIR: options.stateDirectory,
    NATGW_SOCKET: options.socketPath,
    ...options.settings,
  };
}

/** The command line that runs the daemon in a lab's gateway. */
export function agentCommand(
  lab: Lab,
  { main = agentMain, confinement = [] }: AgentOptions,
): readonly string[] {
  return nodeInNamespace(lab.namespaceOf("gw"), [main], confinement);
}

export class AgentProcess {
  /** Those whose log was not searched for secrets yet. */
  static readonly all: AgentProcess[] = [];
  readonly api: ApiClient;
  readonly #child: ChildProcess;
  readonly #log: string[] = [];
  /** Resolves at the next line. */
  #logged = Promise.withResolvers<void>();
  readonly #exited: Promise<unknown>;

  private constructor(child: ChildProcess, api: ApiClient) {
    this.#child = child;
    this.api = api;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#log.push(text);
        this.#logged.resolve();
        this.#logged = Promise.withResolvers();
      });
    }
    this.#exited = once(child, "close");
  }

  /** Starts the process. {@link whenLive} and {@link whenReady} tell when it can be used. */
  static start(lab: Lab, options: AgentOptions): AgentProcess {
    const [command = "ip", ...args] = agentCommand(lab, options);
    const child = spawn(command, args, { env: agentEnvironment(options), stdio: ["ignore", "pipe", "pipe"] });
    const agent = new AgentProcess(child, new ApiClient(options.socketPath));
    AgentProcess.all.push(agent);
    return agent;
  }

  /** Everything that it has logged. */
  get log(): string {
    return this.#log.join("");
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error("the agent could not be started");
    return this.#child.pid;
  }

  /** Waits for the API; returns itself. */
  whenLive(): Promise<this> {
    return this.#answers("/livez");
  }

  /** Waits for the first verified pass; returns itself. */
  whenReady(): Promise<this> {
    return this.#answers("/readyz");
  }

  /** Sends SIGTERM and returns the exit code. */
  async stop(): Promise<number | null> {
    await this.#end("SIGTERM");
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Waits until it ends by itself. */
  async whenEnded(): Promise<number | null> {
    await until("the agent to end", () => this.#hasEnded, startTimeoutMs);
    await this.#exited;
    return this.#child.exitCode;
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Asks when it has logged something, so that an agent that starts does nothing but start. */
  async #answers(path: string): Promise<this> {
    const begunMs = performance.now();
    while (!(await answersOk(this.api, path))) {
      if (this.#hasEnded) throw this.#unusable(`it ended with ${this.#child.exitCode}`);
      const passedMs = performance.now() - begunMs;
      if (passedMs > startTimeoutMs) throw this.#unusable(`no 200 from ${path}`);
      await Promise.race([this.#logged.promise, delay(silencePauseMs)]);
      await pauseAfter(passedMs);
    }
    return this;
  }

  #unusable(why: string): Error {
    return new Error(`the agent is not usable: ${why}; its log:\n${this.log.slice(-8_000)}`);
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    await this.api.close();
    if (this.#hasEnded) return;
    this.#child.kill(signal);
    await until(`the agent's end by ${signal}`, () => this.#hasEnded, stopTimeoutMs);
  }
}

/** True if a path answers 200. False also if nothing listens, because the agent starts or starts again. */
export async function answersOk(api: ApiClient, path: string): Promise<boolean> {
  try {
    return (await api.call("GET", path)).status === 200;
  } catch (error) {
    if (
      error instanceof Error &&
      "code" in error &&
      ["ENOENT", "ECONNREFUSED", "ECONNRESET", "EPIPE", "UND_ERR_SOCKET"].includes(String(error.code))
    ) {
      return false;
    }
    throw error;
  }
}
