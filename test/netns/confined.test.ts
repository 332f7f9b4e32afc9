/** The agent works with the rights that the manifests of docs/deploy give it: mounts, capabilities, probes, listeners. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import t from "tap";
import type { AgentProcess } from "../support/agent-process.ts";
import { besideConfined, type Confinement, confined } from "../support/confinement.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { labAddresses } from "../support/lab.ts";
import { agentContainer, environmentOf, probesOf } from "../support/manifests.ts";
import { testName } from "../support/namespaces.ts";
import { run } from "../support/run.ts";
import { plantToken } from "../support/secrets.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";

const container = agentContainer("main-container");
const environment = environmentOf(container, labAddresses.vpc);
const token = plantToken("confined");
const metrics = `http://${labAddresses.vpc}:9477/metrics`;

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-12", internalIp: "10.0.1.5" }],
  snats: [{ name: "all", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
  dnats: [
    {
      name: "web",
      eip: "eip-10",
      protocol: "tcp",
      externalPort: 80,
      backends: [{ ip: "10.0.1.6", port: 80 }],
    },
  ],
};

/** What the manifest mounts, and the directory in which the tests' tools note their calls. */
async function confinementOf(gw: Gateway): Promise<Confinement> {
  const { socketPath, stateDirectory, toolDirectory = "" } = gw.agentOptions;
  await mkdir(stateDirectory, { recursive: true });
  await writeFile(join(gw.secretDirectory, "token"), `${token}\n`);
  const sources: Readonly<Record<string, string>> = {
    run: dirname(socketPath),
    state: stateDirectory,
    token: gw.secretDirectory,
  };
  const mounts = container.volumeMounts.map(({ name, mountPath, readOnly = false }) => ({
    source: sources[name] ?? "",
    target: mountPath,
    options: readOnly ? "ro" : "rw",
  }));
  const hidden = ["/run", "/var/lib"].map((target) => ({ source: "tmpfs", target, options: "ro" }));
  return {
    ...gw.confinement,
    canWriteSysctls: false,
    capabilities: container.securityContext.capabilities.add ?? [],
    mounts: [...hidden, ...mounts, { source: toolDirectory, target: toolDirectory, options: "rw" }],
  };
}

function toolDirectoryOf({ agentOptions: { toolDirectory = "" } }: Gateway): string {
  return toolDirectory;
}

/** The directories are the manifest's; outside of the confinement they are the gateway's. */
const directories = { NATGW_STATE_DIR: "/var/lib/natgw", NATGW_SOCKET: "/run/natgw/agent.sock" };

function start(gw: Gateway, confinement: Confinement): AgentProcess {
  return gw.startAgent({ ...environment, ...directories }, { confinement: confined(confinement) });
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.make(t, dataplane);
    const confinement = await confinementOf(gw);
    const agent = await start(gw, confinement).whenReady();
    const beside = (argv: readonly string[]) => {
      const [command = "", ...args] = [...besideConfined(agent.pid, confinement), ...argv];
      return run(command, args);
    };

    await t.test("it has the rights of the manifest and no others", async (t) => {
      const status = await run("cat", [`/proc/${agent.pid}/status`]);
      // NET_ADMIN is capability 12, NET_RAW 13.
      t.match(status, /^CapEff:\t0000000000003000$/m);
      t.match(status, /^NoNewPrivs:\t1$/m);
      const files = ["", "/etc", "/run", "/tmp", "/var/lib"].map((parent) => `${parent}/${testName("x")}`);
      for (const path of [...files, "/proc/sys/net/ipv4/ip_forward"])
        await t.rejects(beside(["sh", "-c", `echo 1 >${path}`]), /Read-only file system/, path);
    });

    await t.test("objects become Ready and translate", async (t) => {
      t.equal((await gw.api.putSet(set)).status, 200);
      const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
      t.match(await outside.ask(tcp("203.0.113.12")), { answeredBy: "pod1" });
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod2" });
      t.match(await pod1.ask(outsideTcp), { answeredBy: "outside", seenAs: "203.0.113.12" });
      t.match(await pod2.ask(outsideTcp), { answeredBy: "outside", seenAs: "203.0.113.11" });
      await gw.expectConverged(t);
    });

    await t.test("it reads IPsec policies", async (t) => {
      const policy = "src 0.0.0.0/0 dst 203.0.113.12/32 dir fwd";
      await gw.lab.exec("gw", ["ip", "xfrm", "policy", "add", ...policy.split(" "), "action", "block"]);
      await gw.api.reconcile();
      t.match((await gw.api.status()).degraded, [
        { reason: "ForeignRule", message: /ip xfrm policy fwd: src .* drops/ },
      ]);
      await gw.lab.exec("gw", ["ip", "xfrm", "policy", "del", ...policy.split(" ")]);
      await gw.api.reconcile();
      t.same((await gw.api.status()).degraded, []);
    });

    await t.test("the probes succeed, and fail if the agent does not answer", async (t) => {
      for (const { exec } of probesOf(container)) await t.resolves(beside(exec.command));
      process.kill(agent.pid, "SIGSTOP");
      const [probe] = probesOf(container);
      await t.rejects(beside(probe?.exec.command ?? []));
      process.kill(agent.pid, "SIGCONT");
    });

    await t.test("metrics are read over the VPC interface, with the token only", async (t) => {
      const ask = (...options: readonly string[]) =>
        gw.lab.exec("pod1", ["curl", "--silent", "--write-out", "%{http_code}", ...options, metrics]);
      t.match(await ask("--header", `authorization: Bearer ${token}`), /^natgw_ready 1$[\s\S]*200$/m);
      t.match(await ask("--output", "/dev/null"), /^401$/);
    });

    await t.test("it works as another user, with ambient capabilities", async (t) => {
      t.equal(await agent.stop(), 0);
      const user = 65_534;
      const { socketPath, stateDirectory } = gw.agentOptions;
      const owned = [dirname(socketPath), stateDirectory, gw.secretDirectory, toolDirectoryOf(gw)];
      await run("chown", ["-R", String(user), ...owned]);
      const other = await start(gw, { ...confinement, user }).whenReady();
      const status = await run("cat", [`/proc/${other.pid}/status`]);
      t.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
      t.match(status, /^CapEff:\t0000000000003000$/m);
      t.equal((await gw.api.put("fips/another", { eip: "eip-10", internalIp: "10.0.1.6" })).status, 200);
      t.match(await gw.host("pod2").ask(outsideTcp), { seenAs: "203.0.113.10" });
      await gw.expectConverged(t);
      t.equal(await other.stop(), 0);
      // Root without other capabilities may not open what belongs to others.
      await run("chown", ["-R", "0", ...owned]);
    });

    await t.test("it starts again with its state", async (t) => {
      await start(gw, confinement).whenReady();
      t.equal((await gw.api.status()).generation.desired, 1);
      t.match(await gw.host("outside").ask(tcp("203.0.113.12")), { answeredBy: "pod1" });
      await gw.expectConverged(t);
    });
  });
}
