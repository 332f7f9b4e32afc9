/** `scripts/demo`: the story of one gateway, told while it happens. Every step is checked; the first surprise ends it. */
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
import { type HostName, Lab, standingLabs } from "../test/support/lab.ts";
import { nodeInNamespace } from "../test/support/namespaces.ts";
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

/** What is sent, and what must come of it. */
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
    step("A lab: an outside host, the gateway, two pods, each in a network namespace of its own");
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
    step("The agent starts in the gateway");
    await this.#agent.whenReady();
    const { backend, gate, epoch } = await this.#agent.api.status();
    tell(`ready: dataplane ${backend}, gate ${gate}, epoch ${epoch}`);
  }

  async #program(): Promise<void> {
    step("PUT /v1/desired?wait=10s: three EIPs, a FIP, a DNAT, a SNAT");
    const { status, body } = await this.#agent.api.putSet(sample, "?wait=10s");
    tell(`${status}: ${body.ready} ready, ${body.notReadyTotal} not`);
    expect(status === 200, "everything is Ready");
    for (const line of await this.#objectRules()) tell(line);
  }

  async #travel(): Promise<void> {
    step("Real traffic: who asks whom, who answers, and whom it saw asking");
    for (const [what, from, target, answeredBy, seenAs] of journeys) {
      const answer = await this.#host(from).ask(target);
      const words =
        "silence" in answer ? `silence: ${answer.silence}` : `${answer.answeredBy} saw ${answer.seenAs}`;
      const { address, port } = target;
      tell(`${what.padEnd(20)} ${from.padEnd(7)} → ${`${address}:${port}`.padEnd(18)} ${words}`);
      expect(
        !("silence" in answer) && answer.answeredBy === answeredBy && answer.seenAs === seenAs,
        `${answeredBy} sees ${seenAs}`,
      );
    }
  }

  async #breakRules(): Promise<void> {
    step("By hand: the FIP's chain is flushed, and an EIP is taken from net1");
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
    tell(`both are back, seen ${Math.round(performance.now() - start)} ms later`);
    expect(await stream.advance(50_000), "a connection that was open meanwhile goes on");
    expect((await stream.close()).isIntact, "without losing a byte");
    tell("a connection that was open meanwhile went on, not a byte lost");
  }

  async #killAgent(): Promise<void> {
    step("kill -9, and a new start");
    await this.#agent.kill();
    const answer = await this.#host("outside").ask(tcp("203.0.113.10"));
    expect(!("silence" in answer), "traffic flows without an agent");
    tell("without an agent, traffic goes on");
    this.#agent = await AgentProcess.start(this.#lab, options).whenReady();
    const { lastReconcile } = await this.#agent.api.status();
    tell(`with it again: everything Ready, ${lastReconcile?.changed} changes made`);
    expect(lastReconcile?.changed === 0, "nothing had to be changed");
  }

  async #deleteFip(): Promise<void> {
    step("DELETE /v1/fips/fip-pod1: new and open connections end");
    const stream = await this.#host("outside").open(tcp("203.0.113.10"));
    await stream.advance(1);
    await this.#agent.api.delete("fips/fip-pod1", "?wait=10s");
    expect(await this.#host("outside").hearsNothing(tcp("203.0.113.10")), "nobody answers at the FIP");
    const answer = await this.#host("pod1").ask(outsideTcp);
    expect(!("silence" in answer) && answer.seenAs === "203.0.113.12", "pod1 leaves by the SNAT");
    const before = (await stream.progress()).received;
    await stream.advance(1, 500);
    expect((await stream.close()).received === before, "the open connection has ended");
    tell("nobody answers at 203.0.113.10 any more; pod1 now leaves as 203.0.113.12");
    const { changes } = await this.#agent.api.plan();
    expect(changes.length === 0, "the plan is empty");
    tell("GET /v1/plan: nothing to do");
  }

  async #end(isKept: boolean): Promise<void> {
    for (const host of this.#hosts.values()) await host.stop();
    await this.#agent.stop();
    if (!isKept) {
      await clear();
      console.log("\nDone; nothing is left behind.");
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
The lab and the agent stay. To play:
  curl --unix-socket ${options.socketPath} http://agent/v1/status
  curl --unix-socket ${options.socketPath} http://agent/v1/desired
  scripts/lab exec demo gw iptables-nft-save -t nat
  scripts/lab exec demo outside bash -c 'head -n 1 </dev/tcp/203.0.113.11/8080'
  tail -f ${join(directory, "agent.log")}
To end:
  scripts/lab down demo`;

async function startHosts(lab: Lab): Promise<ReadonlyMap<HostName, Host>> {
  const hosts = new Map<HostName, Host>();
  for (const name of ["outside", "pod1", "pod2"] as const) {
    const host = await Host.start(lab, name);
    await host.serve("tcp", 80);
    await host.serve("udp", 53);
    hosts.set(name, host);
  }
  return hosts;
}

/** Removes what an earlier demo kept. */
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
  if (!holds) throw new Error(`this should hold and does not: ${what}`);
}

const unknown = process.argv.slice(2).filter((option) => option !== "--keep");
if (unknown.length > 0) {
  console.error("usage: scripts/demo [--keep]");
  process.exitCode = 2;
} else {
  await Demo.run(process.argv.includes("--keep"));
}
