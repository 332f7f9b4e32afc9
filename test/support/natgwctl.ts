/** Runs natgwctl as an operator does. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { expectNoSecret } from "./secrets.ts";

export interface CtlResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CtlOptions {
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

export const ctlBuilt = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
/** Without a build. */
export const ctlSource = fileURLToPath(new URL("../../agent/cli/main.ts", import.meta.url));

/** @param main the entry file; by default the built one */
export class Natgwctl {
  readonly #socketPath: string;
  readonly #main: string;

  constructor(socketPath: string, main = ctlBuilt) {
    this.#socketPath = socketPath;
    this.#main = main;
  }

  async run(line: string, { input = "", environment = {} }: CtlOptions = {}): Promise<CtlResult> {
    const child = spawn(process.execPath, [this.#main, ...line.split(" ")], {
      env: { ...process.env, NATGW_SOCKET: this.#socketPath, ...environment },
      stdio: "pipe",
    });
    child.stdin.on("error", () => undefined).end(input);
    const ended = Promise.withResolvers<number | null>();
    child.once("close", ended.resolve).once("error", ended.reject);
    const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended.promise]);
    expectNoSecret(`natgwctl ${line}`, stdout + stderr);
    return { code, stdout, stderr };
  }

  /** The data that `-o json` prints, whatever the exit code. */
  async json<T>(line: string, options?: CtlOptions): Promise<T> {
    return JSON.parse((await this.run(`${line} -o json`, options)).stdout);
  }

  async yaml<T>(line: string, options?: CtlOptions): Promise<T> {
    return parse((await this.run(`${line} -o yaml`, options)).stdout);
  }
}
