/**
 * The conntrack driver on a real table with real traffic: contradicting flows are ended, all others stay, and a second
 * sweep finds nothing. Rules are loaded directly; the driver runs in the gateway's namespace.
 */
import t, { type Test } from "tap";
import { ConntrackProbe } from "../support/conntrack-probe.ts";
import type { SampleProgram } from "../support/conntrack-samples.ts";
import { Host, type HostStream } from "../support/host.ts";
import { type HostName, Lab, labAddresses, podAddress } from "../support/lab.ts";
import { sweep, testName } from "../support/namespaces.ts";
import { until } from "../support/run.ts";

const { outside: peer, external } = labAddresses;
const [pod1, pod2] = [podAddress(1), podAddress(2)];
const [eip1, eip2, eip3] = ["203.0.113.10", "203.0.113.11", "203.0.113.12"];
/** Entries without a reply. */
const silenceMs = 300;

await sweep();
const lab = new Lab(testName("ct"));
const hosts = new Map<HostName, Host>();
let probe: ConntrackProbe | undefined;

t.before(async () => {
  await lab.up();
  await lab.ip("gw", ...[eip1, eip2, eip3].map((eip) => `address add ${eip}/24 dev net1`));
  await lab.exec("gw", ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  // Answers to an untranslated pod address are sent, and get lost.
  await lab.ip("outside", "route add 10.0.0.0/8 via 203.0.113.99");
  // Connection tracking must stay active when the nat table is flushed.
  const anchor = [
    "-A",
    "FORWARD",
    "-i",
    "eth0",
    "-o",
    "net1",
    "-m",
    "conntrack",
    "--ctstate",
    "INVALID",
    "-j",
    "DROP",
  ];
  await lab.exec("gw", ["iptables-nft", ...anchor]);
  for (const name of ["outside", "pod1", "pod2"] as const) {
    const host = new Host(lab, name);
    hosts.set(name, host);
    await host.serve("tcp", 80, 81);
    await host.serve("udp", 53);
  }
  probe = new ConntrackProbe(lab.namespaceOf("gw"));
});

t.teardown(async () => {
  await probe?.stop();
  for (const host of hosts.values()) await host.stop();
  await lab.down();
});

/** One scenario on an empty table, its streams closed at the end. */
async function scenario(name: string, play: (t: Test) => Promise<void>): Promise<void> {
  await t.test(name, async (t) => {
    await rules();
    await trackEstablished(false);
    await lab.exec("gw", ["conntrack", "-F"]);
    await play(t);
  });
}

/**
 * Whether a packet in the middle of a TCP stream makes an entry. If so, a retransmission of the scenario before can make
 * one after the flush.
 */
async function trackEstablished(on: boolean): Promise<void> {
  await lab.exec("gw", ["sysctl", "-qw", `net.netfilter.nf_conntrack_tcp_loose=${on ? 1 : 0}`]);
}

/** Replaces all of the nat table in one transaction. */
async function rules(...lines: readonly string[]): Promise<void> {
  const input = ["*nat", ...lines.map((line) => `-A ${line}`), "COMMIT", ""].join("\n");
  await lab.exec("gw", ["iptables-nft-restore"], { input });
}

const fipRules = (eip: string, pod: string) => [
  `PREROUTING -d ${eip} -j DNAT --to-destination ${pod}`,
  `POSTROUTING -s ${pod} -j SNAT --to-source ${eip}`,
];
const snatRule = (eip: string) =>
  `POSTROUTING -s 10.0.1.0/24 -o net1 -j SNAT --to-source ${eip} --random-fully`;
const hairpinRule = (eip: string) =>
  `POSTROUTING -o eth0 -m conntrack --ctstate DNAT --ctorigsrc 10.0.1.0/24 --ctorigdst ${eip} -j SNAT --to-source ${eip}`;

async function open(
  t: Test,
  from: HostName,
  transport: "tcp" | "udp",
  address: string,
  port: number,
  fromPort: number,
): Promise<HostStream> {
  const stream = await host(from).open({ transport, address, port, fromPort });
  t.teardown(() => stream.close());
  return stream;
}

/** Sweeps twice. Returns what the first sweep found, and asserts that the second one found nothing. */
async function sweepFlows(t: Test, program: SampleProgram, retired: readonly string[] = []) {
  const first = await theProbe().call("sweep", { program, retired });
  t.equal(first.removed, first.total, "everything found was removed");
  t.match(await theProbe().call("sweep", { program, retired }), { total: 0, removed: 0 });
  return first.flows;
}

/** Waits until the gateway tracks what `text` describes. */
async function tracked(text: string): Promise<void> {
  await until(`an entry with ${text}`, async () => (await table()).includes(text));
}

const table = () => lab.exec("gw", ["conntrack", "-L"]);

function host(name: HostName): Host {
  const found = hosts.get(name);
  if (found === undefined) throw new Error(`no host ${name}`);
  return found;
}

function theProbe(): ConntrackProbe {
  if (probe === undefined) throw new Error("the probe was not started");
  return probe;
}

await scenario("flows that began before their FIP are dead until they go", async (t) => {
  const out = await open(t, "pod1", "udp", peer, 53, 5001);
  const inward = await open(t, "outside", "udp", eip1, 53, 5002);
  await tracked(`src=${pod1} dst=${peer} sport=5001`);
  await tracked(`src=${peer} dst=${eip1} sport=5002`);
  await rules(...fipRules(eip1, pod1));
  t.equal(await out.advance(1, silenceMs), false, "the rule alone changes nothing outwards");
  t.equal(await inward.advance(1, silenceMs), false, "nor inwards");

  t.strictSame(await sweepFlows(t, { fips: [[eip1, pod1]] }), [
    `udp src=${pod1} dst=${peer} sport=5001 dport=53 src=${peer} dst=${pod1} sport=53 dport=5001`,
    `udp src=${peer} dst=${eip1} sport=5002 dport=53 src=${eip1} dst=${peer} sport=53 dport=5002`,
  ]);
  t.equal(await out.advance(5), true);
  t.equal(await inward.advance(5), true);
  t.match(await out.progress(), { answer: { answeredBy: "outside", seenAs: eip1 } });
  t.match(await inward.progress(), { answer: { answeredBy: "pod1", seenAs: peer } });
});

await scenario("a FIP goes: its streams end, all others live on", async (t) => {
  await rules(...fipRules(eip1, pod1), ...fipRules(eip2, pod2));
  const inward = await open(t, "outside", "tcp", eip1, 80, 5003);
  const out = await open(t, "pod1", "tcp", peer, 80, 5004);
  const neighbours = [
    await open(t, "outside", "tcp", eip2, 80, 5005),
    await open(t, "pod2", "tcp", peer, 80, 5006),
    await open(t, "pod2", "udp", peer, 53, 5007),
    // The gateway itself would have answered this packet. It came from the VPC and was routed without translation.
    await open(t, "pod1", "tcp", pod2, 80, 5008),
  ];
  for (const stream of [inward, out, ...neighbours]) t.equal(await stream.advance(5), true);
  // Foreign flows: masqueraded; in a conntrack zone, for both directions or for one; of the gateway itself.
  const replyPorts = "--reply-port-src 2 --reply-port-dst 1";
  const entry = (text: string) => ["conntrack", "-I", ...text.split(" "), "-t", "60", "-u", "SEEN_REPLY"];
  await lab.exec(
    "gw",
    entry(`-p udp -s 10.0.1.7 -d ${peer} --sport 1 --dport 2 -r ${peer} -q ${external} ${replyPorts}`),
  );
  const contradicting = `-p udp -s ${peer} -d ${eip1} --sport 1 --dport 2 -r ${pod1} -q ${peer} ${replyPorts}`;
  await lab.exec("gw", entry(`${contradicting} -w 5`));
  await lab.exec("gw", entry(`${contradicting} --orig-zone 6`));
  await lab.exec("gw", entry(`-p udp -s ${external} -d ${peer} --sport 3 --dport 4`));
  const foreign = ["src=10.0.1.7", "zone=5", "zone-orig=6", `src=${external} dst=${peer} sport=3`];

  await rules(...fipRules(eip2, pod2));
  await trackEstablished(true);
  t.equal(await inward.advance(5), true, "without a sweep it goes on for ever");
  t.equal(await out.advance(5), true);
  t.strictSame(await sweepFlows(t, { eips: [eip1], fips: [[eip2, pod2]] }), [
    `tcp src=${pod1} dst=${peer} sport=5004 dport=80 src=${peer} dst=${eip1} sport=80 dport=5004`,
    `tcp src=${peer} dst=${eip1} sport=5003 dport=80 src=${pod1} dst=${peer} sport=80 dport=5003`,
  ]);
  t.equal(await inward.advance(100_000, silenceMs), false);
  t.equal(await out.advance(100_000, silenceMs), false);
  for (const stream of neighbours) t.equal(await stream.advance(5), true);
  for (const stream of neighbours) t.match(await stream.progress(), { isIntact: true, ended: undefined });
  const left = await table();
  for (const text of foreign) t.ok(left.includes(text), `${text} is left`);
  // Conntrack accepts TCP in mid-stream as a new flow. It is untranslated now, and the desired
  // set does not contradict that.
  t.match(left, new RegExp(`src=${pod1} dst=${peer} sport=5004 dport=80 .*dst=${pod1} `));

  await rules(...fipRules(eip1, pod1), ...fipRules(eip2, pod2));
  const again = await sweepFlows(t, {
    fips: [
      [eip1, pod1],
      [eip2, pod2],
    ],
  });
  t.match(again[0], new RegExp(`^tcp src=${pod1} .*sport=5004`), "until a rule covers it again");
});

await scenario("an entry of a permitted TCP stream may vanish: it comes back the same", async (t) => {
  await rules(...fipRules(eip1, pod1));
  const inward = await open(t, "outside", "tcp", eip1, 80, 5010);
  const out = await open(t, "pod1", "tcp", peer, 80, 5011);
  t.ok((await inward.advance(5)) && (await out.advance(5)));
  await trackEstablished(true);
  await lab.exec("gw", ["conntrack", "-D", "-p", "tcp"]);
  t.ok((await inward.advance(5_000)) && (await out.advance(5_000)));
  t.match(await inward.progress(), { isIntact: true });
  t.strictSame(await sweepFlows(t, { fips: [[eip1, pod1]] }), []);
});

await scenario("a DNAT loses one of two backends: only that one's streams end", async (t) => {
  const toBackend = (backend: string, every = "") =>
    `PREROUTING -d ${eip1} -p tcp ${every} -m tcp --dport 8080 -j DNAT --to-destination ${backend}`;
  await rules(
    toBackend(`${pod1}:80`, "-m statistic --mode nth --every 2 --packet 0"),
    toBackend(`${pod2}:81`),
  );
  const streams: HostStream[] = [];
  for (const port of [5020, 5021, 5022, 5023])
    streams.push(await open(t, "outside", "tcp", eip1, 8080, port));
  for (const stream of streams) t.equal(await stream.advance(5), true);
  const byPod = Map.groupBy(
    await Promise.all(
      streams.map(async (stream) => ({ stream, at: (await stream.progress()).answer?.answeredBy })),
    ),
    ({ at }) => at,
  );
  t.strictSame([...byPod.keys()].sort(), ["pod1", "pod2"]);

  await rules(toBackend(`${pod1}:80`));
  const gone = await sweepFlows(t, { dnats: [[`${eip1}:8080/tcp`, `${pod1}:80`]] });
  t.equal(gone.length, byPod.get("pod2")?.length);
  for (const { stream } of byPod.get("pod2") ?? []) t.equal(await stream.advance(100_000, silenceMs), false);
  for (const { stream } of byPod.get("pod1") ?? []) {
    t.equal(await stream.advance(5), true);
    t.match(await stream.progress(), { isIntact: true });
  }
});

await scenario("a pod with SNAT gains a FIP and keeps its flows; they go with the SNAT", async (t) => {
  await rules(snatRule(eip3));
  const old = await open(t, "pod2", "tcp", peer, 80, 5030);
  t.equal(await old.advance(5), true);
  await rules(...fipRules(eip2, pod2), snatRule(eip3));
  t.strictSame(await sweepFlows(t, { fips: [[eip2, pod2]], snats: [[eip3, "10.0.1.0/24"]] }), []);
  const young = await open(t, "pod2", "tcp", peer, 80, 5031);
  t.ok((await old.advance(5)) && (await young.advance(5)));
  t.match(await old.progress(), { answer: { seenAs: eip3 } });
  t.match(await young.progress(), { answer: { seenAs: eip2 } });

  await rules(...fipRules(eip2, pod2));
  t.match(await sweepFlows(t, { fips: [[eip2, pod2]] }, [eip3]), [new RegExp(`sport=5030 .* dst=${eip3} `)]);
  t.equal(await old.advance(100_000, silenceMs), false);
  t.equal(await young.advance(5), true);
});

await scenario("hairpin and ping", async (t) => {
  await rules(...fipRules(eip1, pod1));
  const early = await open(t, "pod2", "udp", eip1, 53, 5040);
  await tracked(`src=${pod2} dst=${eip1} sport=5040`);
  await rules(...fipRules(eip1, pod1), hairpinRule(eip1));
  t.match(await sweepFlows(t, { fips: [[eip1, pod1]] }), [/sport=5040/], "it began before its hairpin");
  t.equal(await early.advance(5), true);
  t.match(await early.progress(), { answer: { answeredBy: "pod1", seenAs: eip1 } });
  await lab.exec("outside", ["ping", "-c", "1", "-W", "2", eip1]);
  t.strictSame(await sweepFlows(t, { fips: [[eip1, pod1]] }), []);
  t.match(await theProbe().call("touching", { eips: [eip1], limit: 1 }), { total: 2, flows: [String] });
  t.match(await theProbe().call("touching", { eips: [eip1, eip2], limit: 9 }), {
    total: 2,
    flows: [new RegExp(`^icmp type=8 .* dst=${eip1} src=${pod1} `), /^udp .*sport=5040/],
  });
  t.match(await theProbe().call("touching", { eips: [eip2], limit: 9 }), { total: 0, flows: [] });

  await rules();
  t.match(
    await sweepFlows(t, {}, [eip1]),
    [/^icmp /, /^udp /],
    "a ping's entry is deleted by type, code and id",
  );
});

await scenario("an entry that is another one by now is not deleted", async (t) => {
  await rules(...fipRules(eip1, pod1));
  const stream = await open(t, "pod1", "udp", peer, 53, 5050);
  t.equal(await stream.advance(1), true);
  t.equal(await theProbe().call("keep", { eip: eip1 }), 1);
  t.match(await theProbe().call("removeKept", { idOffset: 1 }), { removed: 0 });
  t.ok((await table()).includes("sport=5050"));
  t.match(await theProbe().call("removeKept", { idOffset: 0 }), { removed: 1 });
  t.match(await theProbe().call("sweep", { program: { fips: [[eip1, pod1]] } }), { total: 0 });
});

await scenario("a large table", async (t) => {
  await theProbe().call("inject", { client: "10.0.7.1", count: 18_000 });
  await theProbe().call("inject", { client: "10.0.8.1", count: 2_000 });
  const { count = 0, max = 0 } = await theProbe().call("stats", null);
  t.ok(count >= 20_000 && max >= count);
  // Flows from this pod have the EIP as destination of the reply. Flows to it would have the EIP as original
  // destination.
  t.strictSame(await theProbe().call("given", { eip: "10.0.8.1" }), [0, 2_000], "the kernel filters");
  t.strictSame(await theProbe().call("given", { eip: "198.18.0.7" }), [2, 0]);
  t.match(await theProbe().call("touching", { eips: ["10.0.8.1", "198.18.0.7"], limit: 1 }), {
    total: 2_001,
    flows: [String],
  });
  const swept = await theProbe().call("sweep", { program: { fips: [[eip1, "10.0.8.1"]] } });
  t.match(swept, { total: 2_000, removed: 2_000 });
  t.match(await theProbe().call("sweep", { program: { fips: [[eip1, "10.0.8.1"]] } }), { total: 0 });
  const left = await lab.exec("gw", ["conntrack", "-L", "-s", "10.0.7.1"]);
  t.equal(left.trim().split("\n").length, 18_000, "nothing else went");
  const { findMs, removeMs, longestBlockMs } = swept;
  t.comment(`found in ${findMs.toFixed()} ms, removed in ${removeMs.toFixed()} ms`);
  t.comment(`the event loop was held for ${longestBlockMs.toFixed()} ms at most`);
});
