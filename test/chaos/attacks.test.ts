/**
 * Many clients at once against a real agent with 20,000 objects: memory stays bounded, probes are answered all the time, and
 * the objects stay Ready. `scripts/soak --suite attacks` runs it for minutes.
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { Gateway } from "../support/gateway.ts";
import { open, readAnswer, requestText } from "../support/raw-http.ts";
import { gateway } from "../support/targets.ts";
import { startProber } from "./prober.ts";

const seconds = Number(process.env.NATGW_SECONDS ?? 10);
/** Only set where the machine is known to be quiet. */
const mostProbeMs = Number(process.env.NATGW_PROBE_MS ?? Number.POSITIVE_INFINITY);
const mostKib = 600 * 1024;
const objects = 20_000;
const [readers, bodies, idlers] = [200, 40, 2_000];
const bodyBytes = 60 * 1024 * 1024;

t.setTimeout((seconds + 300) * 1000);
t.test("lists that nobody reads, large bodies, idle connections", async (t) => {
  const gw = await Gateway.start(t, "nftables", {
    NATGW_EIP_BINDING: "route",
    NATGW_LOG_LEVEL: "error",
  });
  const where = { path: gw.agentOptions.socketPath };
  const eips = Array.from({ length: objects }, (_, index) => ({
    name: `eip-${index}`,
    address: `198.18.${index >> 8}.${index & 255}/32`,
  }));
  t.equal((await gw.api.putSet({ generation: 1, gateway, eips }, "?wait=2m")).status, 200);

  const probeMs = new Map<string, number>();
  const statuses = new Map<string, number>();
  let probes = 0;
  const stopProbing = startProber(gw.agentOptions.socketPath, ({ path, status, ms }) => {
    probeMs.set(path, Math.max(probeMs.get(path) ?? 0, ms));
    if (status !== 200) t.fail(`${path} answers ${status}`);
    probes++;
  });
  const peakKib = () =>
    Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${gw.agent.pid}/status`, "utf8"))?.[1]);

  const endMs = performance.now() + seconds * 1000;
  let rounds = 0;
  do {
    const sockets: Socket[] = [];
    const crowd = async (count: number, text: string) => {
      for (let one = 0; one < count; one++) {
        const socket = await open(where).catch(() => undefined);
        if (socket === undefined) continue;
        sockets.push(socket.on("error", () => undefined));
        if (text === "") socket.resume();
        else socket.pause().write(text);
      }
    };
    await Promise.all([
      crowd(readers, requestText("GET", "/v1/eips")),
      crowd(idlers, ""),
      ...Array.from({ length: bodies }, async () => {
        const status = await sendBody(where);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }),
    ]);
    await delay(1_000);
    for (const socket of sockets) socket.destroy();
    rounds++;
  } while (performance.now() < endMs);
  await stopProbing();

  const longest = [...probeMs].map(([path, ms]) => `${path} ${Math.round(ms)} ms`).join(", ");
  const answers = [...statuses].map(([status, count]) => `${status} ${count}`).join(", ");
  t.comment(
    `${rounds} rounds, ${probes} probes, longest ${longest}, peak ${peakKib() >> 10} MiB, bodies: ${answers}`,
  );
  t.ok(peakKib() < mostKib, `${peakKib()} KiB`);
  t.ok(Math.max(...probeMs.values()) <= mostProbeMs, longest);
  t.ok((statuses.get("422") ?? 0) > 0, "some bodies are read to their end");
  const status = await gw.api.status();
  t.equal(status.objects.eips?.ready, objects);
});

const text = Buffer.from(`"${"x".repeat(32_765)}",`.repeat(32));

/** The status of the answer; `cut` if there was none. */
async function sendBody(where: { readonly path: string }): Promise<string> {
  const pieces = bodyBytes / text.length;
  const socket = await open(where).catch(() => undefined);
  if (socket === undefined) return "cut";
  socket.on("error", () => undefined);
  const answer = readAnswer(socket).then(
    ({ status }) => String(status),
    () => "cut",
  );
  const headers = [
    "content-type: application/json",
    `content-length: ${pieces * text.length + 12}`,
    "connection: close",
  ];
  socket.write(`${requestText("PUT", "/v1/eips/eip-a", headers)}{"pad":[`);
  for (let piece = 0; piece < pieces && socket.writable; piece++)
    await new Promise((resolve) => socket.write(text, resolve));
  socket.write('""]}');
  return answer;
}
