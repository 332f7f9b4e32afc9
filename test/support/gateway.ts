/** A gateway under test: a lab with the real agent and hosts. Everything is removed with the test. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { type AgentOptions, AgentProcess } from "./agent-process.ts";
import type { ApiClient } from "./api-client.ts";
import { type Confinement, confined } from "./confinement.ts";
import { Host } from "./host.ts";
import { KernelWatch } from "./kernel-watch.ts";
import { type HostName, Lab } from "./lab.ts";
import { sweep, testName } from "./namespaces.ts";
import { type RuleFaults, ruleFaults } from "./rule-faults.ts";
import { type RulesByHand, rulesByHand } from "./rules-by-hand.ts";
import { expectNoSecret, expectNoSecretBelow, tokenLine } from "./secrets.ts";
import { compileFilter } from "./system-calls.ts";
import { Toolbox } from "./toolbox.ts";

/** The dataplanes that every kernel test runs on. */
export const dataplanes = ["iptables-nft", "iptables-legacy", "nftables"] as const;
export type DataplaneName = (typeof dataplanes)[number];
export type Variant = Exclude<DataplaneName, "nftables">;

/** TCP and UDP ports that every host except the gateway serves. */
const tcpPorts = [80, 81];
const udpPorts = [53];

const settingsOf: Readonly<Record<DataplaneName, Readonly<Record<string, string>>>> = {
  "iptables-nft": { NATGW_IPTABLES_VARIANT: "nft" },
  "iptables-legacy": { NATGW_IPTABLES_VARIANT: "legacy" },
  nftables: { NATGW_DATAPLANE: "nftables" },
};

export interface GatewayOptions {
  /** True if the test uses {@link Gateway.faults}. Then the daemon may run with one part replaced. */
  readonly isBreakable?: boolean;
  /** True if the test sends no packets: no host serves, and {@link Gateway.host} finds none. */
  readonly isSilent?: boolean;
}

/** The lock of iptables-legacy. Tools that a test calls by hand use it, too. */
const lockFile = "/run/xtables.lock";

/** What the disk of an agent's state is: an empty one of 256 KiB, or read-only. */
export type BadDisk = "small" | "read-only";

let lastNumber = 0;

export class Gateway {
  readonly lab: Lab;
  readonly dataplane: DataplaneName;
  readonly toolbox: Toolbox;
  readonly byHand: RulesByHand;
  /** Faults when writing rules, if the gateway {@link GatewayOptions.isBreakable}. */
  readonly faults: RuleFaults;
  readonly #directory: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #hosts = new Map<HostName, Host>();
  /** The daemon's entry file, if it is not the bundle. */
  #main: string | undefined;
  #agent: AgentProcess | undefined;

  private constructor(name: string, dataplane: DataplaneName, settings: Readonly<Record<string, string>>) {
    this.lab = new Lab(name);
    this.dataplane = dataplane;
    this.byHand = rulesByHand(this.lab, dataplane);
    this.#directory = join(tmpdir(), name);
    this.toolbox = new Toolbox(join(this.#directory, "tools"));
    this.faults = ruleFaults(this.toolbox, this.lab, dataplane);
    this.#settings = {
      // No other host is in the lab, so probing only costs time. Tests of the probe enable it.
      NATGW_ARP_PROBE: "0",
      NATGW_LOG_LEVEL: "trace",
      NATGW_TOKEN_FILE: join(this.secretDirectory, "tokens"),
      ...settingsOf[dataplane],
      ...settings,
    };
  }

  /** A lab with serving hosts and no agent yet. Everything is removed at the end of the test. */
  static async make(
    t: Test,
    dataplane: DataplaneName,
    settings: Readonly<Record<string, string>> = {},
    options: GatewayOptions = {},
  ): Promise<Gateway> {
    await sweep();
    const gateway = new Gateway(testName(String(++lastNumber)), dataplane, settings);
    t.teardown(() => gateway.#remove());
    await mkdir(gateway.#directory, { recursive: true });
    await mkdir(gateway.secretDirectory);
    await writeFile(
      join(gateway.secretDirectory, "tokens"),
      tokenLine("lab-writer", "write") + tokenLine("lab-reader", "read"),
    );
    await gateway.toolbox.install();
    if (options.isBreakable === true && gateway.faults.isOnNetlink) {
      const { agentOnBadNetlink } = await import("./agent-on-bad-netlink.ts");
      gateway.#main = await agentOnBadNetlink();
    }
    compileFilter(gateway.#filter);
    await writeFile(lockFile, "", { flag: "a" });
    await gateway.lab.up();
    const serving = options.isSilent === true ? [] : gateway.lab.hosts.filter((name) => name !== "gw");
    await Promise.all(serving.map((name) => gateway.#serve(name)));
    return gateway;
  }

  /** The same with an agent that is ready. */
  static async start(
    t: Test,
    dataplane: DataplaneName,
    settings: Readonly<Record<string, string>> = {},
    options: GatewayOptions = {},
  ): Promise<Gateway> {
    const gateway = await Gateway.make(t, dataplane, settings, options);
    await gateway.startAgent().whenReady();
    return gateway;
  }

  /** The iptables variant under test. */
  get variant(): Variant {
    if (this.dataplane === "nftables") throw new Error("iptables has no part in the nftables dataplane");
    return this.dataplane;
  }

  /** Where tests put tokens. Elsewhere in the gateway's directory none may be found. */
  get secretDirectory(): string {
    return join(this.#directory, "secret");
  }

  get #filter(): string {
    return join(this.#directory, "system-calls");
  }

  /**
   * The rights that docs/deploy gives: every agent of a lab runs with them. Only /proc/sys is writable, as in Kube-OVN's pod;
   * netns/confined takes that away too.
   */
  get confinement(): Confinement {
    const compiled = process.env.NODE_COMPILE_CACHE;
    const writable = [this.#directory, lockFile, ...(compiled === undefined ? [] : [compiled])];
    return {
      capabilities: ["NET_ADMIN", "NET_RAW"],
      canWriteSysctls: true,
      mounts: writable.map((path) => ({ source: path, target: path, options: "rw" })),
      filter: this.#filter,
    };
  }

  get agentOptions(): AgentOptions {
    return {
      ...(this.#main !== undefined && { main: this.#main }),
      confinement: confined(this.confinement),
      stateDirectory: join(this.#directory, "state"),
      socketPath: join(this.#directory, "agent.sock"),
      toolDirectory: this.toolbox.directory,
      settings: this.#settings,
    };
  }

  get agent(): AgentProcess {
    if (this.#agent === undefined) throw new Error("no agent was started");
    return this.#agent;
  }

  get isAgentStarted(): boolean {
    return this.#agent !== undefined;
  }

  get api(): ApiClient {
    return this.agent.api;
  }

  /** Starts an agent in place of the previous one, which must have ended. */
  startAgent(
    settings: Readonly<Record<string, string>> = {},
    more: Pick<AgentOptions, "main" | "confinement"> = {},
  ): AgentProcess {
    const options = this.agentOptions;
    this.#agent = AgentProcess.start(this.lab, {
      ...options,
      ...more,
      settings: { ...options.settings, ...settings },
    });
    return this.#agent;
  }

  /** The same with its state on a bad disk, which ends with the agent. */
  startAgentOn(disk: BadDisk): AgentProcess {
    const { stateDirectory } = this.agentOptions;
    const mount =
      disk === "small"
        ? { source: "tmpfs", target: stateDirectory, options: "size=256k" }
        : { source: stateDirectory, target: stateDirectory, options: "ro" };
    const { confinement } = this;
    return this.startAgent(
      {},
      { confinement: confined({ ...confinement, mounts: [...confinement.mounts, mount] }) },
    );
  }

  host(name: HostName): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  watch(): Promise<KernelWatch> {
    return KernelWatch.start(this.lab.namespaceOf("gw"), this.toolbox);
  }

  /** Deletes the durable state, like a recreated pod without a volume. */
  async loseState(): Promise<void> {
    await rm(this.agentOptions.stateDirectory, { recursive: true, force: true });
  }

  /** Qdiscs and classes of all devices, without what they count. The kernel numbers queues as they are made. */
  async queues(): Promise<string> {
    const devices = (await this.lab.exec("gw", ["ip", "-j", "link", "show"])).matchAll(/"ifname":"([^"]+)"/g);
    const classes = Array.from(devices, ([, name = ""]) =>
      this.lab.exec("gw", ["tc", "-d", "class", "show", "dev", name]),
    );
    const text = await Promise.all([this.lab.exec("gw", ["tc", "qdisc", "show"]), ...classes]);
    return text.join("\n").replaceAll(/direct_packets_stat \d+/g, "");
  }

  /** The rules of a table as `iptables-save` prints them: only `-A` lines, in order. */
  async rules(table: "nat" | "mangle" | "filter"): Promise<readonly string[]> {
    const text = await this.lab.exec("gw", [`${this.variant}-save`, "-t", table]);
    return text.split("\n").filter((line) => line.startsWith("-A "));
  }

  /**
   * The content of the NAT table as the dataplane's tool prints it, without counters: rules in order, elements sorted.
   */
  async translations(): Promise<readonly string[]> {
    const { table } = this.byHand;
    const { lines } = await this.byHand.read();
    return lines.filter((line) => line.startsWith(`${table} `)).map((line) => line.slice(table.length + 1));
  }

  /** Loads iptables rules like a person or another program. */
  async restore(...lines: readonly string[]): Promise<void> {
    const input = `${lines.join("\n")}\n`;
    await this.lab.exec("gw", [`${this.variant}-restore`, "--noflush", "--wait", "5"], { input });
  }

  async addresses(nic: "eth0" | "net1"): Promise<readonly string[]> {
    const text = await this.lab.exec("gw", ["ip", "-4", "-o", "address", "show", "dev", nic]);
    return [...text.matchAll(/ inet (\S+)/g)].map((match) => match[1] ?? "");
  }

  /** The conntrack entries whose tuples contain all of the addresses. */
  async flows(...addresses: readonly string[]): Promise<readonly string[]> {
    const text = await this.lab.exec("gw", ["conntrack", "-L"]);
    return text.split("\n").filter((line) => {
      const words = line.split(/[ =]/);
      return addresses.every((address) => words.includes(address));
    });
  }

  /**
   * The final check of every test: a second pass plans, changes and writes nothing, observed from outside; every object
   * that should be Ready is Ready.
   */
  async expectConverged(t: Test): Promise<void> {
    const plan = await this.api.plan();
    t.same(plan.changes, [], "a converged gateway has an empty plan");
    const watch = await this.watch();
    const report = await this.api.reconcile();
    const writes = await watch.stop();
    t.same(
      { changed: report.changed, failed: report.failed, flowsRemoved: report.flowsRemoved },
      { changed: 0, failed: [], flowsRemoved: 0 },
      "a second pass changes nothing",
    );
    t.same(writes, [], "the kernel saw no write");
  }

  async #serve(name: HostName): Promise<void> {
    const host = new Host(this.lab, name);
    this.#hosts.set(name, host);
    await Promise.all([host.serve("tcp", ...tcpPorts), host.serve("udp", ...udpPorts)]);
  }

  async #remove(): Promise<void> {
    await this.#agent?.kill();
    await Promise.all([...this.#hosts.values()].map((host) => host.stop()));
    await this.lab.down();
    try {
      await this.#expectNoSecret();
    } finally {
      await rm(this.#directory, { recursive: true, force: true });
    }
  }

  /** No agent logged or stored a secret. */
  async #expectNoSecret(): Promise<void> {
    for (const agent of AgentProcess.all.splice(0)) expectNoSecret("the log of an agent", agent.log);
    await expectNoSecretBelow(this.#directory, [this.secretDirectory]);
  }
}
