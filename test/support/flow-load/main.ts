/**
 * The flow log under load: 2,000 new flows a second. Every flow that the other end saw is in the log, with the EIP's port
 * and the time at which it began; a sample is asked for by `who`. `scripts/soak --suite who` runs it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import t from "tap";
import { listSegments } from "../../../agent/flow-log/segments.ts";
import { Gateway } from "../gateway.ts";
import { nodeInNamespace } from "../in-namespace.ts";
import { type HostName, labAddresses } from "../lab.ts";
import { until } from "../run.ts";
import { eip, gateway } from "../targets.ts";

const seconds = Number(process.env.NATGW_SECONDS ?? "3");
const rate = Number(process.env.NATGW_RATE ?? "2000");
const asked = 300;
const port = 5_353;
const program = fileURLToPath(new URL("datagrams.ts", import.meta.url));

interface Session {
  readonly event: string;
  readonly original: { readonly src: string; readonly sport: number };
  readonly source?: { readonly eip: string; readonly eipPort: number };
  readonly start?: string;
  readonly end?: string;
}

function start(gw: Gateway, host: HostName, ...args: readonly (string | number)[]): ChildProcess {
  const [command = "", ...rest] = nodeInNamespace(gw.lab.namespaceOf(host), [program, ...args.map(String)]);
  return spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
}

const linesOf = (output: string) =>
  output
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split(" ").map(Number));

t.test(`${rate} new flows a second for ${seconds} s`, async (t) => {
  const gw = await Gateway.make(t, "nftables");
  const timeouts = ["udp_timeout", "udp_timeout_stream"].map(
    (name) => `net.netfilter.nf_conntrack_${name}=1`,
  );
  await gw.lab.exec("gw", ["sysctl", "-qw", ...timeouts]);
  await gw.startAgent({ NATGW_FLOW_LOG: "translations" }).whenReady();
  const set = {
    generation: 1,
    gateway,
    eips: [eip(10)],
    snats: [{ name: "all", eip: "eip-10", internalCIDR: "10.0.1.0/24" }],
  };
  t.match(await gw.api.putSet(set), { status: 200 });

  const receiver = start(gw, "outside", "receive", port);
  const received = text(receiver.stdout as NodeJS.ReadableStream);
  await once(receiver.stderr as NodeJS.ReadableStream, "data");
  const cpuMs = await cpuMsOf(gw);
  const sender = start(gw, "pod1", "send", labAddresses.outside, port, rate, seconds);
  const sent = linesOf(await text(sender.stdout as NodeJS.ReadableStream));
  const metric = async (name: string) => {
    const body = await gw.api.metrics();
    return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)`, "m").exec(body)?.[1] ?? 0);
  };
  await until(
    "all flows to end",
    async () => (await gw.flows("10.0.1.5", String(port))).length === 0,
    60_000,
  );
  let before = -1;
  await until(
    "the log to come to rest",
    async () => {
      const now = await metric("natgw_flow_log_records_total");
      const isSame = now === before;
      before = now;
      await new Promise((resolve) => setTimeout(resolve, 500));
      return isSame;
    },
    60_000,
  );
  const spentMs = (await cpuMsOf(gw)) - cpuMs;
  receiver.kill();
  const seen = linesOf(await received);

  const sessions = new Map<string, Session[]>();
  const directory = `${gw.agentOptions.stateDirectory}/flow-log`;
  for (const { path } of await listSegments(directory)) {
    for (const line of (await readFile(path, "utf8")).split("\n").filter(Boolean)) {
      const session = JSON.parse(line) as Session;
      if (session.source === undefined) continue;
      const key = `${session.original.sport} ${session.source.eipPort}`;
      sessions.set(key, [...(sessions.get(key) ?? []), session]);
    }
  }
  // A client's port returns after 25 s, and then gets another port of the EIP.
  const timesOf = new Map<number, (readonly [before: number, after: number])[]>();
  for (const [own = 0, before = 0, after = 0] of sent)
    timesOf.set(own, [...(timesOf.get(own) ?? []), [before, after]]);
  const missing = seen.filter(([own = 0, eipPort = 0]) => {
    const found = sessions.get(`${own} ${eipPort}`) ?? [];
    const times = timesOf.get(own) ?? [];
    // The flow began while its datagram was sent. Both clocks are in whole milliseconds.
    return !found.some(({ start: from = "" }) =>
      times.some(([before, after]) => before - 1 <= Date.parse(from) && Date.parse(from) <= after + 1),
    );
  });
  const lost = await metric("natgw_flow_log_lost_total");
  t.comment(
    `sent ${sent.length}, seen ${seen.length}, in the log ${before}, lost ${lost}, missing ${missing.length}`,
  );
  t.comment(`CPU of the agent: ${Math.round((spentMs / sent.length) * 1_000)} µs a flow`);
  t.equal(lost, 0);
  t.ok(seen.length > sent.length * 0.9, "the load was there");
  t.same(missing.slice(0, 3), [], "every flow that was seen is in the log");

  let unknown = 0;
  for (let index = 0; index < asked; index++) {
    const [own = 0, eipPort = 0] = seen[Math.floor((index * seen.length) / asked)] ?? [];
    const [session] = sessions.get(`${own} ${eipPort}`) ?? [];
    const query = `eip=eip-10&port=${eipPort}&protocol=udp&at=${session?.end}`;
    const { body } = await gw.api.call<{ items: { port: number }[] }>("GET", `/v1/flows/who?${query}`);
    if (!body.items.some((item) => item.port === own)) unknown++;
  }
  t.equal(unknown, 0, `who finds each of ${asked}`);
});

async function cpuMsOf(gw: Gateway): Promise<number> {
  const fields = (await readFile(`/proc/${gw.agent.pid}/stat`, "utf8")).split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
