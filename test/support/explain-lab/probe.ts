/** Runs {@link ./program.ts} in a gateway's namespace and asks it from the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Explanation, Question } from "../../../lib/explain/explanation.ts";
import type { Gateway } from "../gateway.ts";
import { nodeInNamespace } from "../in-namespace.ts";
import type { Explained } from "./program.ts";

const programFile = fileURLToPath(new URL("program.ts", import.meta.url));

export class ExplainProbe {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, (explained: Explained) => void>();
  #lastId = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** The gateway's agent must have ended. */
  static async start(gw: Gateway): Promise<ExplainProbe> {
    const isNft = gw.dataplane === "nftables";
    const [command = "ip", ...args] = nodeInNamespace(gw.lab.namespaceOf("gw"), [
      programFile,
      gw.agentOptions.stateDirectory,
      isNft ? "nftables" : "iptables",
      isNft ? "auto" : gw.variant.slice("iptables-".length),
    ]);
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    const probe = new ExplainProbe(child);
    const begun = new Promise<void>((resolve, reject) => {
      probe.#pending.set(0, () => resolve());
      child.once("exit", (code) => reject(new Error(`the program ended with ${code}`)));
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { id, explained } = JSON.parse(line) as { readonly id: number; readonly explained: Explained };
      probe.#pending.get(id)?.(explained);
      probe.#pending.delete(id);
    });
    await begun;
    return probe;
  }

  async explain(question: Question): Promise<Explanation> {
    const id = ++this.#lastId;
    const explained = await new Promise<Explained>((resolve) => {
      this.#pending.set(id, resolve);
      this.#child.stdin?.write(`${JSON.stringify({ id, question })}\n`);
    });
    if ("error" in explained) throw new Error(explained.error);
    return explained;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.stdin?.end();
    await exited;
  }
}
