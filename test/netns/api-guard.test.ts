/**
 * The guard of the API: from outside and from pods nobody reaches its ports by an EIP, by an interface's own address or by a rule
 * that leads there, from the first second on and while the guard is removed by hand. A DNAT of the same port goes on working.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { inNamespace } from "../support/in-namespace.ts";
import { type HostName, labAddresses } from "../support/lab.ts";
import { ipBatch } from "../support/namespaces.ts";
import { until } from "../support/run.ts";
import { plantToken } from "../support/secrets.ts";
import { eip, gateway, tcp } from "../support/targets.ts";

const port = 9477;
const token = plantToken("api-guard");
const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-12", internalIp: "10.0.1.5" }],
  dnats: [
    {
      name: "same-port",
      eip: "eip-10",
      protocol: "tcp",
      externalPort: port,
      internalIp: "10.0.1.6",
      internalPort: 80,
    },
  ],
};

/** Another program's DNATs of an EIP's ports to the API, from wherever. */
const detours = `table ip detour {
  chain prerouting { type nat hook prerouting priority -150;
    ip daddr 203.0.113.11 tcp dport 7001 dnat to ${labAddresses.vpc}:${port}
    ip daddr 203.0.113.11 tcp dport 7002 dnat to 127.0.0.1:${port}
  }
}`;

/** Every way to the API that nobody configured, by the host that tries it. */
const ways: readonly (readonly [from: HostName, address: string, port: number])[] = [
  ...(["outside", "pod1"] as const).flatMap((from) => [
    [from, "203.0.113.11", port] as const,
    [from, labAddresses.external, port] as const,
    [from, "203.0.113.11", 7001] as const,
    [from, "203.0.113.11", 7002] as const,
  ]),
  ["outside", labAddresses.vpc, port],
];

/** Prints the status of each answer. */
const curl = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}\\n"];

async function answers(gw: Gateway, from: HostName, address: string, to: number): Promise<boolean> {
  const script = `${curl.join(" ")} --max-time 0.3 http://${address}:${to}/livez; true`;
  return (await gw.lab.exec(from, ["sh", "-c", script])).includes("200");
}

/** Asks for `/livez` by every way of a host at once, and prints the statuses. */
function askAll(from: HostName, seconds: number): string {
  const urls = ways
    .filter(([host]) => host === from)
    .flatMap(([, address, to]) => ["--output /dev/null", `http://${address}:${to}/livez`]);
  const options = `--silent --parallel --parallel-immediate --max-time ${seconds}`;
  return `curl ${options} --write-out '%{http_code}\\n' ${urls.join(" ")}`;
}

const attackers = ["outside", "pod1"] as const;

/** Asks again and again, and notes what is answered. */
class Attacker {
  readonly #children: readonly ChildProcess[];
  readonly #file: string;

  constructor(gw: Gateway, directory: string) {
    this.#file = join(directory, "answers");
    this.#children = attackers.map((from) => {
      const script = `while :; do ${askAll(from, 0.2)}; sleep 0.2; done | grep --line-buffered -v 000 >>${this.#file}`;
      const [command = "", ...args] = inNamespace(gw.lab.namespaceOf(from), ["sh", "-c", script]);
      return spawn(command, args, { stdio: "ignore", detached: true });
    });
  }

  /** The statuses that were answered. */
  async stop(): Promise<string> {
    for (const child of this.#children) {
      const ended = once(child, "exit");
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      await ended;
    }
    return readFile(this.#file, "utf8");
  }
}

/** What the kernel has counted. */
async function dropped(gw: Gateway): Promise<number> {
  const text = await gw.lab.exec("gw", ["nft", "list", "counters", "table", "inet", "natgw_api"]);
  return Number(/packets (\d+)/.exec(text)?.[1]);
}

/** What the agent tells of it. */
async function told(gw: Gateway): Promise<number> {
  return gw.api.metric('natgw_dropped_packets_total{reason="api_guard",direction="ingress"}');
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.make(t, dataplane, {
      NATGW_LISTEN: `127.0.0.1:${port},${labAddresses.vpc}:${port}`,
      ...(dataplane === "nftables" && { NATGW_EIP_BINDING: "route" }),
    });
    const directory = join(gw.agentOptions.stateDirectory, "..", "guard");
    await mkdir(directory);
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const tokenFile = join(gw.secretDirectory, "token");
    await writeFile(tokenFile, token);
    await gw.lab.ip("outside", `route add 10.0.0.0/8 via ${labAddresses.external}`);
    await gw.lab.ip("pod1", `route add 203.0.113.0/24 via ${labAddresses.vpc}`);
    await gw.lab.exec("gw", ["sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"]);
    await gw.lab.exec("gw", ["nft", "--file", "-"], { input: detours });
    await gw.lab.ip("gw", "address add 203.0.113.11/24 dev net1");

    await t.test("in the first second of a start nobody gets in", async (t) => {
      const attacker = new Attacker(gw, directory);
      await gw.startAgent({ NATGW_TOKEN_FILE: tokenFile }).whenReady();
      t.equal((await gw.api.putSet(set)).status, 200);
      await until("packets to be dropped", async () => (await dropped(gw)) > 0);
      t.equal(await attacker.stop(), "");
    });

    const reaches = async (from: HostName, ...options: readonly string[]) =>
      (await gw.lab.exec(from, [...curl, ...options, `http://${labAddresses.vpc}:${port}/v1/status`])).trim();
    const bearer = ["--header", `authorization: Bearer ${token}`];

    await t.test("by the configured addresses it answers, with the credential", async (t) => {
      t.equal(await reaches("pod1"), "401");
      t.equal(await reaches("pod1", ...bearer), "200");
      t.equal(await reaches("gw", ...bearer), "200", "also from the gateway itself");
      const own = await gw.lab.exec("gw", [...curl, ...bearer, `http://127.0.0.1:${port}/v1/status`]);
      t.equal(own.trim(), "200");
    });

    await t.test("a DNAT of the same port works", async (t) => {
      t.match(await gw.host("outside").ask(tcp("203.0.113.10", port)), { answeredBy: "pod2" });
      t.match(await gw.host("pod1").ask(tcp("203.0.113.10", port)), { answeredBy: "pod2" });
    });

    await t.test("by no other way, each is dropped and counted", async (t) => {
      for (const [from, address, to] of ways) {
        const before = await dropped(gw);
        t.notOk(await answers(gw, from, address, to), `${from} ${address}:${to}`);
        t.ok((await dropped(gw)) > before, `${from} ${address}:${to} is counted`);
      }
      await gw.expectConverged(t);
    });

    await t.test("removed by hand it comes back at once, and nobody gets in meanwhile", async (t) => {
      const list = async () => {
        const text = await gw.lab.exec("gw", ["nft", "list", "table", "inet", "natgw_api"]).catch(() => "");
        return text.replaceAll(/packets \d+ bytes \d+/g, "");
      };
      const connected = async () =>
        (await gw.lab.exec("gw", ["ss", "-Htn", "state", "established", `( sport = :${port} )`])).trim();
      const whole = await list();
      for (const damage of [
        "delete table inet natgw_api",
        "flush table inet natgw_api",
        "insert rule inet natgw_api guarded accept",
        "add table inet natgw_api { flags dormant; }",
      ]) {
        // The agent is kept from the repair until connections wait for it.
        process.kill(gw.agent.pid, "SIGSTOP");
        await gw.lab.exec("gw", ["nft", damage]);
        const asked = attackers.map((from) => gw.lab.exec(from, ["sh", "-c", `${askAll(from, 5)}; true`]));
        await until("connections", async () => (await connected()).split("\n").length >= 4);
        process.kill(gw.agent.pid, "SIGCONT");
        t.notMatch((await Promise.all(asked)).join(""), /[1-9]/, damage);
        await until(`the repair of: ${damage}`, async () => (await list()) === whole);
      }
      await gw.expectConverged(t);
    });

    await t.test("it stays when the agent has ended, and goes on counting", async (t) => {
      const before = await dropped(gw);
      await gw.agent.stop();
      await answers(gw, "outside", labAddresses.vpc, port);
      await gw.startAgent({ NATGW_TOKEN_FILE: tokenFile }).whenReady();
      t.ok((await dropped(gw)) > before);
      t.equal(await told(gw), await dropped(gw));
      await gw.expectConverged(t);
    });
  });
}

t.test("an interface without a carrier at the start has its addresses all the same", async (t) => {
  const gw = await Gateway.make(t, "nftables");
  const listening = (address: string) => gw.startAgent({ NATGW_LISTEN: `${address}:${port}` });
  await ipBatch(gw.lab.wire, ["link set gw-out down", "link set gw-vpc down"]);

  await t.test("the external one's are refused", async (t) => {
    const agent = listening(labAddresses.external);
    t.equal(await agent.whenEnded(), 1);
    t.match(agent.log, `${labAddresses.external}:${port} is an address on the external interface net1`);
  });

  await t.test("the VPC's answer once there is one", async () => {
    await listening(labAddresses.vpc).whenLive();
    await ipBatch(gw.lab.wire, ["link set gw-vpc up"]);
    await until("the API to answer pod1", () => answers(gw, "pod1", labAddresses.vpc, port));
  });

  await t.test("a signal opens no debugger beside the API", async (t) => {
    process.kill(gw.agent.pid, "SIGUSR1");
    await gw.api.reconcile();
    await gw.api.reconcile();
    const listening = await gw.lab.exec("gw", ["ss", "-Htln"]);
    t.match(listening, /^LISTEN \S+ +\d+ +10\.0\.1\.254:9477 .*\n$/, "the API's port alone");
  });
});
