/**
 * Many clients against a real agent with 20,000 objects, for half of the time alone, then together with requests for inventories,
 * a neighbour on the wire, and somebody who damages the kernel's state. Memory stays bounded, probes are answered all the time, the
 * damage is repaired, and the objects stay Ready. `scripts/soak --suite attacks` runs it for minutes.
 */
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import type { Ip } from "../../lib/model/ip.ts";
import { ArpTape } from "../faults/arp-tape.ts";
import { Gateway } from "../support/gateway.ts";
import { ipBatch } from "../support/namespaces.ts";
import { run, until } from "../support/run.ts";
import { gateway } from "../support/targets.ts";
import { Crowd, forgedClaims } from "./attackers.ts";
import { startProber } from "./prober.ts";

const seconds = Number(process.env.NATGW_SECONDS ?? 10);
/** Only set where the machine is known to be quiet. */
const mostProbeMs = Number(process.env.NATGW_PROBE_MS ?? Number.POSITIVE_INFINITY);
/** Under the attacks of clients that take all they can get, and under all attacks at once. */
const mostKib = { clients: 600 * 1024, all: 700 * 1024 };
const objects = 20_000;
const [readers, bodies, idlers, inventories, queries] = [200, 40, 2_000, 8, 20];
/** In each round. */
const [claims, damages] = [400, 50];

t.setTimeout((seconds + 300) * 1000);
t.test("clients that take all they can get, forged claims, and damages", async (t) => {
  const gw = await Gateway.start(t, "nftables", {
    NATGW_EIP_BINDING: "route",
    NATGW_ARP_PROBE: "200ms",
    NATGW_LOG_LEVEL: "error",
  });
  const eips = Array.from({ length: objects }, (_, index) => ({
    name: `eip-${index}`,
    address: `198.18.${index >> 8}.${index & 255}/32`,
  }));
  t.equal((await gw.api.putSet({ generation: 1, gateway, eips }, "?wait=2m")).status, 200);
  const addresses = eips.map(({ address }) => address.replace("/32", "") as Ip);
  const neighbour = await ArpTape.start(gw.lab.namespaceOf("outside"), "eth0");
  t.teardown(() => neighbour.stop());

  const probeMs = new Map<string, number>();
  let probes = 0;
  const stopProbing = startProber(gw.agentOptions.socketPath, ({ path, status, ms }) => {
    probeMs.set(path, Math.max(probeMs.get(path) ?? 0, ms));
    if (status !== 200) t.fail(`${path} answers ${status}`);
    probes++;
  });
  t.teardown(stopProbing);

  const tokenFile = join(gw.secretDirectory, "tokens");
  const tokens = await readFile(tokenFile);
  const isHeld = async (some: readonly Ip[]) => {
    const text = await run("ip", [
      "-n",
      gw.lab.namespaceOf("gw"),
      "route",
      "show",
      "table",
      "local",
      "dev",
      "net1",
    ]);
    const held = new Set(text.split("\n").map((line) => line.split(" ")[1]));
    return some.every((address) => held.has(address));
  };

  const crowd = new Crowd({ path: gw.agentOptions.socketPath });
  const ofClients = () => [
    crowd.neverRead(readers, "/v1/eips"),
    crowd.idle(idlers),
    crowd.sendBodies(bodies),
  ];
  const peakKib = () =>
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${gw.agent.pid}/status`, "utf8"))?.[1]);
  let rounds = 0;
  const repeat = async (round: () => Promise<void>) => {
    const endMs = performance.now() + seconds * 500;
    do {
      await round();
      crowd.leave();
      rounds++;
    } while (performance.now() < endMs);
  };
  await repeat(async () => {
    await Promise.all(ofClients());
    await delay(1_000);
  });
  const clientsKib = peakKib();
  await repeat(async () => {
    const damaged = addresses.filter((_, at) => (at + rounds) % (objects / damages) === 0);
    await writeFile(tokenFile, "two lines\nof garbage\n");
    await Promise.all([
      ...ofClients(),
      crowd.ask(inventories, "GET", "/v1/inventory"),
      crowd.ask(queries, "QUERY", "/v1/eips"),
      forgedClaims(addresses, claims, (packet) => neighbour.say(packet)),
      ipBatch(
        gw.lab.namespaceOf("gw"),
        damaged.map((address) => `route delete local ${address}/32 table local dev net1`),
      ),
    ]);
    await until("the damage to be repaired", () => isHeld(damaged));
    // The file is read every few seconds, and a round may take less.
    await until("the token file to be read", async () =>
      (await gw.api.degradedReasons()).includes("TokenFileInvalid"),
    );
    t.same(await gw.api.degradedReasons(), ["TokenFileInvalid"], "nothing else is degraded");
    await writeFile(tokenFile, tokens);
  });
  await stopProbing();

  const longest = [...probeMs].map(([path, ms]) => `${path} ${Math.round(ms)} ms`).join(", ");
  t.comment(
    `${rounds} rounds, ${probes} probes, longest ${longest}, peak ${clientsKib >> 10} and ${peakKib() >> 10} MiB, answers: ${crowd.answers}`,
  );
  t.ok(clientsKib < mostKib.clients, `${clientsKib} KiB`);
  t.ok(peakKib() < mostKib.all, `${peakKib()} KiB`);
  t.ok(Math.max(...probeMs.values()) <= mostProbeMs, longest);
  t.ok(crowd.count("PUT", 422) > 0, "some bodies are read to their end");
  t.ok(crowd.count("GET", 200) > 0, "some inventories are answered");
  t.equal(crowd.count("QUERY", 500), 0);
  t.ok(crowd.count("QUERY", 405) > 0);
  await until("every Eip to be Ready", async () => (await gw.api.status()).objects.eips?.ready === objects);
});
