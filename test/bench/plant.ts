/** A lab with the real agent for one benchmark, and one without an agent for the bare tools. */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { AgentProcess } from "../support/agent-process.ts";
import type { ApiClient, WriteReply } from "../support/api-client.ts";
import { Lab } from "../support/lab.ts";
import { until } from "../support/run.ts";
import { loadCommands } from "./bare.ts";
import { type DataplaneName, settingsOf } from "./dataplanes.ts";
import { Skip } from "./measurement.ts";
import { ProfiledAgent } from "./profile.ts";
import { eipNumbers, type Scenario, setOf } from "./scenario.ts";
import { timeCommands, timeOf } from "./timing.ts";

const meteredMain = fileURLToPath(new URL("metered-agent.ts", import.meta.url));
const profiledMain = fileURLToPath(new URL("profiled-agent.ts", import.meta.url));
/** Enough for 10,000 objects on a busy machine. */
const loadWait = "?wait=5m";
const mostSettlingMs = 15_000;
/** Time of a request that takes the lock if nobody else holds it: the fork. */
const quietMs = 15;

export interface PlantOptions {
  readonly name: string;
  readonly dataplane: DataplaneName;
  /** Directory for profiles. Absent: no profiles. */
  readonly profileDirectory: string | undefined;
  /** The daemon's entry file. */
  readonly agentMain: string;
  /** True if the agent counts the CPU time of each turn of its event loop: {@link Plant.longestTurnMs}. */
  readonly isMetered?: boolean;
}

export class Plant {
  readonly lab: Lab;
  readonly dataplane: DataplaneName;
  readonly #options: PlantOptions;
  readonly #directory: string;
  #agent: AgentProcess | undefined;
  #generation = 0;

  constructor(options: PlantOptions) {
    this.lab = new Lab(options.name, 1);
    this.dataplane = options.dataplane;
    this.#options = options;
    this.#directory = join(tmpdir(), options.name);
  }

  /**
   * Creates the lab and a ready agent without objects. Throws {@link Skip} if the agent does not know the dataplane.
   */
  async start(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    await this.lab.up();
    await this.lab.ip("outside", "route add 198.18.0.0/15 dev eth0");
    await this.#startAgent();
  }

  /** Replaces the old one by a new namespace, an empty disk and a new agent. */
  async renew(): Promise<void> {
    await this.#agent?.kill();
    await this.renewNamespace();
    await rm(this.stateDirectory, { recursive: true, force: true });
    this.#generation = 0;
    await this.#startAgent();
  }

  /** Kills the agent and starts one over the same disk. @returns milliseconds from its fork to its first verified pass */
  async restart(meanwhile: () => Promise<void> = async () => {}): Promise<number> {
    await this.#agent?.kill();
    await meanwhile();
    return timeOf(() => this.#startAgent());
  }

  async renewNamespace(): Promise<void> {
    await this.lab.renewGateway();
    await settled(this.gateway);
  }

  async remove(): Promise<void> {
    await this.#agent?.kill();
    await this.lab.down();
    await rm(this.#directory, { recursive: true, force: true });
  }

  get api(): ApiClient {
    return this.#running.api;
  }

  get pid(): number {
    return this.#running.pid;
  }

  get gateway(): string {
    return this.lab.namespaceOf("gw");
  }

  get socketPath(): string {
    return join(this.#directory, "agent.sock");
  }

  get stateDirectory(): string {
    return join(this.#directory, "state");
  }

  /** PUTs the scenario and waits until everything is Ready. */
  async load(scenario: Scenario): Promise<void> {
    const reply = await this.api.putSet(setOf(scenario, ++this.#generation), loadWait);
    expectReady(reply.status, reply.body, "the full set");
  }

  /** Runs `act`, with the profiler if profiles are requested. */
  async profiled<T>(name: string, act: () => Promise<T>): Promise<T> {
    const { profileDirectory } = this.#options;
    if (profileDirectory === undefined) return act();
    const profile = new ProfiledAgent(this.pid, profileDirectory, `${name}-${this.dataplane}`);
    await profile.begin();
    const result = await act();
    await profile.end();
    return result;
  }

  /**
   * The most CPU time that the agent's main thread took in one turn since the last call, in ms. `undefined` while profiles
   * are made.
   */
  async longestTurnMs(): Promise<number | undefined> {
    if (!this.#isMetered) return undefined;
    await rm(this.#turnsFile, { force: true });
    process.kill(this.pid, "SIGWINCH");
    await until("the agent's longest turn", () => existsSync(this.#turnsFile));
    return Number(await readFile(this.#turnsFile, "utf8"));
  }

  get #isMetered(): boolean {
    return this.#options.isMetered === true && this.#options.profileDirectory === undefined;
  }

  get #turnsFile(): string {
    return join(this.#directory, "turns");
  }

  get #running(): AgentProcess {
    if (this.#agent === undefined) throw new Error("no agent was started");
    return this.#agent;
  }

  async #startAgent(): Promise<void> {
    const { dataplane, profileDirectory, agentMain } = this.#options;
    this.#agent = AgentProcess.start(this.lab, {
      main: this.#isMetered ? meteredMain : profileDirectory === undefined ? agentMain : profiledMain,
      stateDirectory: this.stateDirectory,
      socketPath: this.socketPath,
      settings: {
        NATGW_ARP_PROBE: "0",
        NATGW_LOG_LEVEL: "warn",
        ...settingsOf[dataplane],
        ...(profileDirectory !== undefined && { BENCH_PROFILES: profileDirectory }),
        BENCH_TURNS: this.#turnsFile,
        BENCH_AGENT: agentMain,
      },
    });
    try {
      await this.#agent.whenReady();
    } catch (error) {
      if (this.#agent.log.includes("bad value") || this.#agent.log.includes("not there yet")) {
        throw new Skip(`the agent does not support it: ${this.#agent.log.trim().slice(-200)}`);
      }
      throw error;
    }
  }
}

/** The same lab without an agent. */
export class BarePlant {
  readonly lab: Lab;

  constructor(name: string) {
    this.lab = new Lab(name, 1);
  }

  async start(): Promise<void> {
    await this.lab.up();
  }

  get gateway(): string {
    return this.lab.namespaceOf("gw");
  }

  /**
   * Loads the scenario with the bare tools.
   * @returns milliseconds
   */
  load(dataplane: DataplaneName, scenario: Scenario): number {
    return timeCommands(this.gateway, loadCommands(dataplane, scenario));
  }

  async renew(): Promise<void> {
    await this.lab.renewGateway();
    await settled(this.gateway);
  }

  remove(): Promise<void> {
    return this.lab.down();
  }
}

/**
 * Waits until the old namespace is gone. The kernel removes a namespace in the background: with 10,000 addresses this
 * takes seconds, under a lock that all namespaces share. On a machine that is always busy this gives up.
 */
async function settled(namespace: string): Promise<void> {
  const end = performance.now() + mostSettlingMs;
  for (let quiet = 0; quiet < 5 && performance.now() < end; ) {
    const ms = timeCommands(namespace, [{ argv: ["ip", "link", "set", "lo", "up"] }]);
    quiet = ms < quietMs ? quiet + 1 : 0;
    await delay(50);
  }
}

/** Throws if a write that was waited for is not Ready: its time would mean nothing. */
export function expectReady(status: number, body: Partial<WriteReply>, what: string): void {
  if (status === 200 && (body.notReadyTotal ?? 0) === 0) return;
  throw new Error(`${what} was answered with ${status}: ${JSON.stringify(body).slice(0, 500)}`);
}

/** Number of objects in the scenario. */
export function objectsIn(scenario: Scenario): number {
  return eipNumbers(scenario).length + scenario.fips + scenario.dnats + scenario.snats;
}
