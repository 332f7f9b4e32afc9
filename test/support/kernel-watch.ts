/**
 * Observes from outside that nothing was written to a namespace: the monitors of nft and ip report every change of
 * rules, addresses, routes and links by any process. iptables-legacy has no events: there the tables are compared, and
 * the toolbox tells whether a writing tool ran.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { inNamespace, runIn } from "./in-namespace.ts";
import { until } from "./run.ts";
import { type Call, isRuleWriter, type Toolbox } from "./toolbox.ts";

/** NETLINK_ROUTE and NETLINK_NETFILTER, as numbered in /proc/net/netlink. */
const routeProtocol = 0;
const netfilterProtocol = 12;

/** Written by the watch itself at its end: everything before it in a monitor's output was seen in time. */
const sentinelTable = "watch_sentinel";
const sentinelRoute = "192.0.2.213";

export class KernelWatch {
  readonly #namespace: string;
  readonly #toolbox: Toolbox;
  readonly #nft: Monitor;
  readonly #ip: Monitor;
  readonly #legacyBefore: string;
  readonly #callsBefore: number;

  private constructor(namespace: string, toolbox: Toolbox, before: { legacy: string; calls: number }) {
    this.#namespace = namespace;
    this.#toolbox = toolbox;
    this.#legacyBefore = before.legacy;
    this.#callsBefore = before.calls;
    this.#nft = new Monitor(namespace, ["nft", "monitor"], netfilterProtocol);
    this.#ip = new Monitor(namespace, ["ip", "monitor", "address", "route", "link"], routeProtocol);
  }

  /** Active when it resolves. */
  static async start(namespace: string, toolbox: Toolbox): Promise<KernelWatch> {
    const before = { legacy: await legacyRules(namespace), calls: (await toolbox.calls()).length };
    const watch = new KernelWatch(namespace, toolbox, before);
    await Promise.all([watch.#nft.subscribed(), watch.#ip.subscribed()]);
    return watch;
  }

  /**
   * Ends the watch.
   * @returns every write that was seen, one line each
   */
  async stop(): Promise<readonly string[]> {
    const calls = (await this.#toolbox.calls()).slice(this.#callsBefore).filter(isRuleWriter);
    const legacy = await legacyRules(this.#namespace);
    await this.#run("nft", "add", "table", "ip", sentinelTable);
    await this.#run("ip", "route", "add", "blackhole", sentinelRoute, "table", "4242");
    const [rules, network] = await Promise.all([
      this.#nft.before(sentinelTable),
      this.#ip.before(sentinelRoute),
    ]);
    await this.#run("nft", "delete", "table", "ip", sentinelTable);
    await this.#run("ip", "route", "delete", "blackhole", sentinelRoute, "table", "4242");
    return [
      ...rules,
      ...network,
      ...calls.map(({ tool, args }: Call) => `ran ${tool} ${args}`),
      ...(legacy === this.#legacyBefore ? [] : [`legacy tables changed to:\n${legacy}`]),
    ];
  }

  async #run(...argv: readonly string[]): Promise<void> {
    await runIn(this.#namespace, argv);
  }
}

class Monitor {
  readonly #child: ChildProcess;
  readonly #protocol: number;
  #output = "";

  constructor(namespace: string, argv: readonly string[], protocol: number) {
    const [command = "ip", ...args] = inNamespace(namespace, argv);
    this.#child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
    this.#protocol = protocol;
  }

  /** When the kernel lists the socket with groups, no later change is missed. */
  async subscribed(): Promise<void> {
    const { pid } = this.#child;
    await until("a monitor to subscribe", async () => {
      const table = await readFile(`/proc/${pid}/net/netlink`, "utf8");
      return table.split("\n").some((line) => {
        const [, protocol, port, groups = "0"] = line.trim().split(/\s+/);
        return (
          Number(protocol) === this.#protocol && Number(port) === pid && Number.parseInt(groups, 16) !== 0
        );
      });
    });
  }

  /** Waits for a line with `sentinel`, ends the monitor, and returns the lines before. */
  async before(sentinel: string): Promise<readonly string[]> {
    try {
      await until(`a monitor to report ${sentinel}`, () => this.#output.includes(sentinel));
    } finally {
      this.#child.kill("SIGKILL");
    }
    const lines = this.#output.split("\n");
    return lines.slice(
      0,
      lines.findIndex((line) => line.includes(sentinel)),
    );
  }
}

/** The legacy tables without counters and times. Creates no table. */
async function legacyRules(namespace: string): Promise<string> {
  const text = await runIn(namespace, ["iptables-legacy-save"]);
  return text
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .map((line) => line.replace(/\[\d+:\d+\]/, ""))
    .join("\n");
}
