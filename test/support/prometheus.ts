/** A real Prometheus in a host of a lab. It scrapes the gateway's agent and evaluates the project's alerts. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inNamespace } from "./in-namespace.ts";
import type { Lab } from "./lab.ts";
import { alertsFile } from "./monitoring.ts";
import { until } from "./run.ts";

const address = "127.0.0.1:9090";
const answerMs = 20_000;

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

interface Answer {
  readonly status: string;
  readonly error?: string;
  readonly data: { readonly result: readonly Sample[] };
}

interface RulesAnswer {
  readonly data: { readonly groups: readonly { readonly rules: readonly RuleState[] }[] };
}

export interface RuleState {
  readonly name: string;
  readonly state: string;
  readonly health: string;
  readonly lastError?: string;
}

export class Prometheus {
  readonly #lab: Lab;
  readonly #child: ChildProcess;
  #log = "";

  private constructor(lab: Lab, child: ChildProcess) {
    this.#lab = lab;
    this.#child = child;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#log = (this.#log + text).slice(-4_000);
    });
  }

  /** Scrapes the agent beside it every half second, with the token, as the pod `gateways/natgw-0`. */
  static async start(lab: Lab, directory: string, tokenFile: string): Promise<Prometheus> {
    await mkdir(directory, { recursive: true });
    const configuration = {
      global: { scrape_interval: "500ms", scrape_timeout: "500ms", evaluation_interval: "1s" },
      rule_files: [join(process.cwd(), alertsFile)],
      scrape_configs: [
        {
          job_name: "natgw",
          authorization: { credentials_file: tokenFile },
          static_configs: [
            { targets: ["127.0.0.1:9477"], labels: { namespace: "gateways", pod: "natgw-0" } },
          ],
        },
      ],
    };
    // JSON is YAML.
    const file = join(directory, "prometheus.yaml");
    await writeFile(file, JSON.stringify(configuration));
    const [command = "", ...args] = inNamespace(lab.namespaceOf("gw"), [
      "prometheus",
      `--config.file=${file}`,
      `--storage.tsdb.path=${directory}/data`,
      `--web.listen-address=${address}`,
      "--log.level=warn",
    ]);
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
    const prometheus = new Prometheus(lab, child);
    await until("Prometheus to be ready", () => prometheus.#isReady(), answerMs);
    return prometheus;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }

  /** The answers to instant queries, all by one command. @throws if an expression is refused */
  async query(expressions: readonly string[]): Promise<readonly (readonly Sample[])[]> {
    const requests = expressions.map((expression) =>
      [
        `url = "http://${address}/api/v1/query"`,
        "get",
        `data-urlencode = ${JSON.stringify(`query=${expression}`)}`,
        'write-out = "\\n"',
      ].join("\n"),
    );
    const text = await this.#curl(requests.join("\nnext\n"));
    const answers = text.trim().split("\n");
    return answers.map((answer, index) => {
      const { status, error, data }: Answer = JSON.parse(answer);
      if (status !== "success") throw new Error(`${expressions[index]}: ${error}`);
      return data.result;
    });
  }

  async rules(): Promise<readonly RuleState[]> {
    const answer: RulesAnswer = JSON.parse(await this.#curl(`url = "http://${address}/api/v1/rules"`));
    return answer.data.groups.flatMap(({ rules }) => rules);
  }

  async #isReady(): Promise<boolean> {
    if (this.#child.exitCode !== null) throw new Error(`Prometheus ended:\n${this.#log}`);
    try {
      await this.#curl(`url = "http://${address}/-/ready"\nfail`);
      return true;
    } catch {
      return false;
    }
  }

  #curl(configuration: string): Promise<string> {
    return this.#lab.exec("gw", ["curl", "--silent", "--show-error", "--config", "-"], {
      input: configuration,
    });
  }
}
