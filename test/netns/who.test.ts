/** The flow log on a real gateway: every flow is found by its EIP, port and time; what is lost is counted. */
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { injectFlows, tcpState } from "../support/injected-flows.ts";
import { netlinkSockets } from "../support/netlink-sockets.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, outsideUdp, tcp, webDnat } from "../support/targets.ts";

interface Who {
  readonly items: readonly {
    readonly ip: string;
    readonly port: number;
    readonly direction: string;
    readonly object?: string;
    readonly start: string | null;
    readonly end: string | null;
    readonly packets?: { readonly original: number; readonly reply: number };
    readonly bytes?: { readonly original: number; readonly reply: number };
  }[];
  readonly complete: boolean;
  readonly log: { readonly gaps: readonly { readonly reason: string; readonly records: number | null }[] };
}

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-12", internalIp: "10.0.1.6" }],
  snats: [{ name: "all", eip: "eip-10", internalCIDR: "10.0.1.5/32" }],
  dnats: [webDnat],
};
/** Flows at a time. */
const atOnce = 50;
const batches = 12;

async function who(gw: Gateway, query: Readonly<Record<string, string | number>>): Promise<Who> {
  const text = new URLSearchParams(
    Object.entries(query).map(([key, value]): [string, string] => [key, String(value)]),
  );
  const { status, body } = await gw.api.call<Who>("GET", `/v1/flows/who?${text}`);
  if (status !== 200) throw new Error(JSON.stringify(body));
  return body;
}

/** Flows end a second after their last packet; bytes and packets are counted. */
async function hurry(gw: Gateway): Promise<void> {
  const names = [
    "udp_timeout=1",
    "udp_timeout_stream=1",
    "tcp_timeout_time_wait=1",
    "tcp_timeout_close=1",
    "acct=1",
  ];
  await gw.lab.exec("gw", ["sysctl", "-qw", ...names.map((name) => `net.netfilter.nf_conntrack_${name}`)]);
}

async function start(t: Test, dataplane: (typeof dataplanes)[number], level: string): Promise<Gateway> {
  const gw = await Gateway.make(t, dataplane);
  await hurry(gw);
  await gw.startAgent({ NATGW_FLOW_LOG: level }).whenReady();
  t.match(await gw.api.putSet(set), { status: 200 });
  return gw;
}

/** True if a process in the gateway's namespace listens to the ends of flows: protocol 12, group 3. */
async function isListening(gw: Gateway): Promise<boolean> {
  const table = await gw.lab.exec("gw", ["cat", "/proc/net/netlink"]);
  return netlinkSockets(table).some(({ protocol, groups }) => protocol === 12 && (groups & 4) !== 0);
}

t.test("every flow is found by EIP, port and time", async (t) => {
  const gw = await start(t, "nftables", "translations");
  const pod = gw.host("pod1");
  const flows: { port: number; client: number; at: string }[] = [];
  for (let batch = 0; batch < batches; batch++) {
    const asked = Array.from({ length: atOnce }, async (_, index) => {
      const client = 10_000 + batch * atOnce + index;
      const answer = await pod.ask({ ...outsideUdp, fromPort: client });
      if (!("seenPort" in answer) || answer.seenAs !== "203.0.113.10")
        throw new Error(JSON.stringify(answer));
      // The clocks of the kernel and of this process are the same.
      return { port: answer.seenPort, client, at: new Date().toISOString() };
    });
    flows.push(...(await Promise.all(asked)));
  }
  const written = () => gw.api.metric("natgw_flow_log_records_total");
  await until("all of them in the log", async () => (await written()) >= flows.length, 30_000);
  const missing = [];
  for (const { port, client, at } of flows) {
    const { items, complete } = await who(gw, { eip: "eip-10", port, protocol: "udp", at });
    const found = items.filter((item) => item.ip === "10.0.1.5" && item.port === client);
    if (found.length !== 1 || !complete || found[0]?.object !== "snats/all")
      missing.push({ port, client, items });
    else if (!((found[0].packets?.original ?? 0) > 0 && (found[0].bytes?.reply ?? 0) > 0))
      missing.push(found);
  }
  t.same(missing.slice(0, 3), [], `each of ${flows.length}`);
  t.equal(await gw.api.metric('natgw_flow_log_lost_total{reason="overrun"}'), 0);
  const [first] = flows;
  const early = new Date(Date.parse(first?.at ?? "") - 60_000).toISOString();
  t.match(
    await who(gw, { eip: "203.0.113.10", port: first?.port ?? 0, at: early }),
    { items: [], complete: false },
    "nobody, as far as the log goes back",
  );
});

t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(`live and ended flows of each kind, ${dataplane}`, async (t) => {
    const gw = await start(t, dataplane, "all");
    t.ok(await isListening(gw));
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    const streams = [
      await pod1.open({ ...outsideTcp, fromPort: 20_001 }),
      await pod2.open({ ...outsideTcp, fromPort: 20_002 }),
      await outside.open({ ...tcp("203.0.113.11", 8_080), fromPort: 20_003 }),
    ];
    for (const stream of streams) t.ok(await stream.advance(2_000));
    const seenPort = (await streams[0]?.progress())?.answer?.seenPort ?? 0;
    const asks = [
      { eip: "203.0.113.10", port: seenPort, ip: "10.0.1.5", own: 20_001, object: "snats/all" },
      { eip: "eip-12", port: 20_002, ip: "10.0.1.6", own: 20_002, object: "fips/fip" },
      { eip: "203.0.113.11", port: 8_080, ip: "10.0.1.6", own: 80, object: "dnats/web" },
    ];
    for (const { eip, port, ip, own, object } of asks) {
      const { items } = await who(gw, { eip, port, protocol: "tcp" });
      t.match(items, [{ ip, port: own, object, end: null, start: /Z$/ }], `${object} lives`);
    }
    // Its objects go before its flows do.
    t.equal((await gw.api.delete("dnats/web")).status, 204);
    for (const stream of streams) await stream.close();
    for (const { eip, port, ip, own, object } of asks) {
      const { items } = await until(`${object} to end`, async () => {
        const found = await who(gw, { eip, port, protocol: "tcp" });
        return found.items.some(({ end }) => end !== null) && found;
      });
      t.match(items.at(-1), { ip, port: own, object, start: /Z$/, end: /Z$/ }, `${object} ended`);
      t.equal(items.at(-1)?.direction, object === "dnats/web" ? "inward" : "outward");
    }
    const directory = `${gw.agentOptions.stateDirectory}/flow-log`;
    const text = await gw.lab.exec("gw", ["sh", "-c", `cat ${directory}/*`]);
    t.match(text, '"event":"NAT44 session create","natEvent":4');

    await gw.agent.kill();
    gw.startAgent({ NATGW_FLOW_LOG: "off" });
    await gw.agent.whenReady();
    t.notOk(await isListening(gw), "off: nobody listens");
    const [snat] = asks;
    t.match(await who(gw, { eip: "eip-10", port: snat?.port ?? 0 }), {
      items: [{ ip: "10.0.1.5" }],
      complete: false,
      log: { level: "off" },
    });
  });
}

t.test("what is lost is counted, in the log too", async (t) => {
  const gw = await start(t, "nftables", "translations");
  const count = 60_000;
  const flows = { client: "10.0.1.5", destination: "198.51.100.7", port: 443, eip: "203.0.113.10" };
  await injectFlows(gw.lab.namespaceOf("gw"), {
    ...flows,
    firstPort: 1_024,
    count,
    state: tcpState.established,
  });
  const at = new Date().toISOString();
  const total = async () => {
    const lost = await gw.api.metric('natgw_flow_log_lost_total{reason="overrun"}');
    // One record is about the loss, one about the start.
    return { lost, written: (await gw.api.metric("natgw_flow_log_records_total")) - (lost > 0 ? 2 : 1) };
  };
  const { written: before } = await total();
  const pid = gw.agent.pid;
  process.kill(pid, "SIGSTOP");
  try {
    await gw.lab.exec("gw", ["conntrack", "-F"]);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await until(
    "all to be written or lost",
    async () => {
      const { lost, written } = await total();
      return lost + written - before === count;
    },
    30_000,
  );
  const { lost } = await total();
  t.ok(lost > 0 && lost < count, `${lost} of ${count} were lost`);
  const answer = await who(gw, { eip: "203.0.113.10", port: 1_024, at });
  t.equal(answer.complete, false);
  t.match(answer.log.gaps, [{ reason: "overrun" }]);
  t.equal(
    answer.log.gaps.reduce((sum, { records }) => sum + (records ?? 0), 0),
    lost,
  );

  await gw.agent.kill();
  gw.startAgent({ NATGW_FLOW_LOG: "translations" });
  await gw.agent.whenReady();
  await until("the gap of the restart", async () => {
    const { log } = await who(gw, { eip: "203.0.113.10", port: 1_024, at });
    return log.gaps.some(({ reason }) => reason === "stopped");
  });
});
