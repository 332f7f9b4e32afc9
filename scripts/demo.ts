/** `scripts/demo`: shows one gateway step by step. Every step is checked; the demo stops at the first unexpected result. */
import { spawn } from "node:child_process";
import { mkdirSync, openSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  type AgentOptions,
  AgentProcess,
  agentCommand,
  agentEnvironment,
  answersOk,
} from "../test/support/agent-process.ts";
import { ApiClient, type SampleSet } from "../test/support/api-client.ts";
import { Host, hostProgram } from "../test/support/host.ts";
import type { Target } from "../test/support/host-program.ts";
import { nodeInNamespace } from "../test/support/in-namespace.ts";
import { type HostName, Lab, standingLabs } from "../test/support/lab.ts";
import { until } from "../test/support/run.ts";
import { outsideTcp, outsideUdp, tcp, udp } from "../test/support/targets.ts";

const labName = "natgw-demo";
const directory = "/tmp/natgw-demo";
const options: AgentOptions = {
  main: fileURLToPath(new URL("../dist/agent/main.js", import.meta.url)),
  stateDirectory: join(directory, "state"),
  socketPath: join(directory, "agent.sock"),
};

const sample: SampleSet = {
  generation: 1,
  gateway: { defaultGateway: "203.0.113.1" },
  eips: [10, 11, 12].map((lastByte) => ({ name: `eip-${lastByte}`, address: `203.0.113.${lastByte}/24` })),
  fips: [{ name: "fip-pod1", eip: "eip-10", internalIp: "10.0.1.5" }],
  dnats: [
    {
      name: "web",
      eip: "eip-11",
      protocol: "tcp",
      externalPort: 8080,
      internalIp: "10.0.1.6",
      internalPort: 80,
    },
  ],
  snats: [{ name: "vpc", eip: "eip-12", internalCIDR: "10.0.1.0/24" }],
};

/** Requests, and the answers that must come. */
const journeys: readonly (readonly [
  what: string,
  from: HostName,
  to: Target,
  answeredBy: string,
  seenAs: string,
])[] = [
  ["FIP, inwards", "outside", tcp("203.0.113.10"), "pod1", "203.0.113.1"],
  ["FIP, outwards", "pod1", outsideTcp, "outside", "203.0.113.10"],
  ["DNAT", "outside", tcp("203.0.113.11", 8080), "pod2", "203.0.113.1"],
  ["SNAT, TCP", "pod2", outsideTcp, "outside", "203.0.113.12"],
  ["SNAT, UDP", "pod2", outsideUdp, "outside", "203.0.113.12"],
  ["hairpin by FIP", "pod2", tcp("203.0.113.10"), "pod1", "203.0.113.10"],
  ["hairpin by FIP, UDP", "pod2", udp("203.0.113.10"), "pod1", "203.0.113.10"],
  ["hairpin by DNAT", "pod1", tcp("203.0.113.11", 8080), "pod2", "203.0.113.10"],
];

class Demo {
  readonly #lab: Lab;
  readonly #hosts: ReadonlyMap<HostName, Host>;
  #agent: AgentProcess;

  private constructor(lab: Lab, hosts: ReadonlyMap<HostName, Host>) {
    this.#lab = lab;
    this.#hosts = hosts;
    this.#agent = AgentProcess.start(lab, options);
  }

  static async run(isKept: boolean): Promise<void> {
    await clear();
    step("Create a lab: an outside host, the gateway and two pods, each in a network namespace of its own");
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const lab = new Lab(labName);
    await lab.up();
    tell("outside 203.0.113.1 ── net1 gateway eth0 ── pod1 10.0.1.5, pod2 10.0.1.6");
    const demo = new Demo(lab, await startHosts(lab));
    let isTold = false;
    try {
      await demo.#tell();
      isTold = true;
    } finally {
      await demo.#end(isTold && isKept);
    }
  }

  async #tell(): Promise<void> {
    await this.#begin();
    await this.#program();
    await this.#travel();
    await this.#breakRules();
    await this.#killAgent();
    await this.#deleteFip();
  }

  async #begin(): Promise<void> {
    step("Start the agent in the gateway");
    await this.#agent.whenReady();
    const { backend, gate, epoch } = await this.#agent.api.status();
    tell(`ready: dataplane ${backend}, gate ${gate}, epoch ${epoch}`);
  }

  async #program(): Promise<void> {
    step("PUT /v1/desired?wait=10s: three EIPs, a FIP, a DNAT, a SNAT");
    const { status, body } = await this.#agent.api.putSet(sample, "?wait=10s");
    tell(`${status}: ${body.ready} ready, ${body.notReadyTotal} not ready`);
    expect(status === 200, "everything is Ready");
    for (const line of await this.#objectRules()) tell(line);
  }

  async #travel(): Promise<void> {
    step("Real traffic: client, server, and the client address that the server saw");
    for (const [what, from, target, answeredBy, seenAs] of journeys) {
      const answer = await this.#host(from).ask(target);
      const words =
        "silence" in answer ? `no answer: ${answer.silence}` : `${answer.answeredBy} saw ${answer.seenAs}`;
      const { address, port } = target;
      tell(`${what.padEnd(20)} ${from.padEnd(7)} → ${`${address}:${port}`.padEnd(18)} ${words}`);
      expect(
        !("silence" in answer) && answer.answeredBy === answeredBy && answer.seenAs === seenAs,
        `${answeredBy} sees ${seenAs}`,
      );
    }
  }

  async #breakRules(): Promise<void> {
    step("Damage by hand: flush the FIP's chain, delete an EIP from net1");
    const stream = await this.#host("outside").open(tcp("203.0.113.10"));
    await stream.advance(1);
    const rules = await this.#objectRules();
    await this.#lab.exec("gw", ["iptables-nft", "--wait", "5", "-t", "nat", "-F", "EXCLUSIVE_DNAT"]);
    await this.#lab.ip("gw", "address delete 203.0.113.11/24 dev net1");
    const start = performance.now();
    await until("the repair", async () => {
      const isWhole = (await this.#objectRules()).join() === rules.join();
      return isWhole && (await this.#lab.exec("gw", ["ip", "address"])).includes("203.0.113.11/24");
    });
    tell(`both were repaired, seen ${Math.round(performance.now() - start)} ms later`);
    expect(await stream.advance(50_000), "the open connection continues");
    expect((await stream.close()).isIntact, "without losing a byte");
    tell("the open connection continued and lost no byte");
  }

  async #killAgent(): Promise<void> {
    step("kill -9, then start the agent again");
    await this.#agent.kill();
    const answer = await this.#host("outside").ask(tcp("203.0.113.10"));
    expect(!("silence" in answer), "traffic flows without an agent");
    tell("without the agent, traffic continues");
    this.#agent = await AgentProcess.start(this.#lab, options).whenReady();
    const { lastReconcile } = await this.#agent.api.status();
    tell(`after the start: everything is Ready, ${lastReconcile?.changed} changes were made`);
    expect(lastReconcile?.changed === 0, "nothing had to be changed");
  }

  async #deleteFip(): Promise<void> {
    step("DELETE /v1/fips/fip-pod1: new and open connections end");
    const stream = await this.#host("outside").open(tcp("203.0.113.10"));
    await stream.advance(1);
    await this.#agent.api.delete("fips/fip-pod1", "?wait=10s");
    expect(await this.#host("outside").hearsNothing(tcp("203.0.113.10")), "the FIP does not answer");
    const answer = await this.#host("pod1").ask(outsideTcp);
    expect(!("silence" in answer) && answer.seenAs === "203.0.113.12", "pod1 uses the SNAT");
    const before = (await stream.progress()).received;
    await stream.advance(1, 500);
    expect((await stream.close()).received === before, "the open connection has ended");
    tell("203.0.113.10 does not answer any more; pod1 now uses 203.0.113.12");
    const { changes } = await this.#agent.api.plan();
    expect(changes.length === 0, "the plan is empty");
    tell("GET /v1/plan: nothing to change");
  }

  async #end(isKept: boolean): Promise<void> {
    for (const host of this.#hosts.values()) await host.stop();
    await this.#agent.stop();
    if (!isKept) {
      await clear();
      console.log("\nDone. Everything was removed.");
      return;
    }
    const [command = "ip", ...args] = agentCommand(this.#lab, options);
    startDetached("agent", command, args, agentEnvironment(options));
    const api = new ApiClient(options.socketPath);
    await until("the agent to answer", () => answersOk(api, "/readyz"));
    await api.close();
    for (const name of this.#hosts.keys()) {
      const serve = [hostProgram, "--serve", name];
      const [command = "ip", ...args] = nodeInNamespace(this.#lab.namespaceOf(name), serve);
      startDetached(name, command, args, { PATH: process.env.PATH ?? "" });
    }
    console.log(keptHelp);
  }

  #host(name: HostName): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host ${name}`);
    return host;
  }

  async #objectRules(): Promise<readonly string[]> {
    const text = await this.#lab.exec("gw", ["iptables-nft-save", "-t", "nat"]);
    const chains = /^-A (EXCLUSIVE_DNAT|EXCLUSIVE_SNAT|SHARED_DNAT|SHARED_SNAT|HAIRPIN_SNAT) /;
    return text.split("\n").filter((line) => chains.test(line));
  }
}

const keptHelp = `
The lab and the agent are still running. Try:
  curl --unix-socket ${options.socketPath} http://agent/v1/status
  curl --unix-socket ${options.socketPath} http://agent/v1/desired
  scripts/lab exec demo gw iptables-nft-save -t nat
  scripts/lab exec demo outside bash -c 'head -n 1 </dev/tcp/203.0.113.11/8080'
  tail -f ${join(directory, "agent.log")}
To remove them:
  scripts/lab down demo`;

async function startHosts(lab: Lab): Promise<ReadonlyMap<HostName, Host>> {
  const hosts = new Map<HostName, Host>();
  for (const name of ["outside", "pod1", "pod2"] as const) {
    const host = new Host(lab, name);
    await host.serve("tcp", 80);
    await host.serve("udp", 53);
    hosts.set(name, host);
  }
  return hosts;
}

/** Removes what an earlier demo left running. */
async function clear(): Promise<void> {
  for (const lab of await standingLabs(labName)) await lab.down();
  await rm(directory, { recursive: true, force: true });
}

function startDetached(
  name: string,
  command: string,
  args: readonly string[],
  env: Record<string, string>,
): void {
  const log = openSync(join(directory, `${name}.log`), "a");
  spawn(command, args, { env, detached: true, stdio: ["ignore", log, log] }).unref();
}

function step(title: string): void {
  console.log(`\n● ${title}`);
}

function tell(line: string): void {
  console.log(`  ${line}`);
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Error(`expected: ${what}`);
}

const unknown = process.argv.slice(2).filter((option) => option !== "--keep");
if (unknown.length > 0) {
  console.error("usage: scripts/demo [--keep]");
  process.exitCode = 2;
} else {
  await Demo.run(process.argv.includes("--keep"));
}
