/** Tests the tools that the end-to-end tests rely on, with manually created rules. */
import { mkdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Host } from "./host.ts";
import { runIn } from "./in-namespace.ts";
import { KernelWatch } from "./kernel-watch.ts";
import { Lab, standingLabs } from "./lab.ts";
import { listNamespaces, sweep, testName } from "./namespaces.ts";
import { run } from "./run.ts";
import { Toolbox } from "./toolbox.ts";

const eip = "203.0.113.10";
const lab = new Lab(testName("support"));
const directory = join(tmpdir(), testName("support"));
const toolbox = new Toolbox(join(directory, "tools"));
const gateway = lab.namespaceOf("gw");

/** Runs a command in the gateway as the agent would: the stand-ins first on PATH. */
function inGateway(...argv: readonly string[]): Promise<string> {
  return runIn(gateway, argv, { env: { PATH: `${toolbox.directory}:${process.env.PATH}` } });
}

t.before(async () => {
  await lab.up();
  await toolbox.install();
});

t.teardown(async () => {
  await lab.down();
  await rm(directory, { recursive: true, force: true });
});

t.test("a lab carries traffic, and its hosts report the result", async (t) => {
  await lab.exec("gw", ["sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1"]);
  await lab.ip("gw", `address add ${eip}/24 dev net1`);
  await lab.exec("gw", ["iptables-nft-restore"], {
    input: `*nat\n-A PREROUTING -d ${eip} -j DNAT --to 10.0.1.5\n-A POSTROUTING -s 10.0.1.5 -j SNAT --to ${eip}\nCOMMIT\n`,
  });
  const [outside, pod1] = [new Host(lab, "outside"), new Host(lab, "pod1")];
  t.teardown(() => Promise.all([outside.stop(), pod1.stop()]));
  await Promise.all([
    pod1.serve("tcp", 80),
    pod1.serve("udp", 53),
    outside.serve("tcp", 80),
    outside.serve("udp", 53),
  ]);

  const inward = { transport: "tcp", address: eip, port: 80 } as const;
  t.match(await outside.ask(inward), { answeredBy: "pod1", seenAs: "203.0.113.1" });
  t.match(await outside.ask({ ...inward, transport: "udp", port: 53 }), { answeredBy: "pod1" });
  t.match(await pod1.ask({ transport: "tcp", address: "203.0.113.1", port: 80, fromPort: 4444 }), {
    answeredBy: "outside",
    seenAs: eip,
    seenPort: 4444,
  });
  t.same(await outside.ask({ ...inward, port: 82 }), { silence: "ECONNREFUSED" });
  t.ok(await outside.hearsNothing({ ...inward, address: "203.0.113.99" }));
  t.same(await pod1.flood({ transport: "udp", address: "203.0.113.1", port: 53 }, 100), { [eip]: 100 });

  const stream = await outside.open(inward);
  t.ok(await stream.advance(100_000), "a stream goes on");
  await lab.exec("gw", ["iptables-nft", "-t", "nat", "-F"]);
  await lab.exec("gw", ["conntrack", "-F"]);
  t.notOk(await stream.advance(1_000_000, 500), "and a broken one does not");
  t.ok((await stream.close()).isIntact, "but what came was whole");
});

t.test("a watch reports every kind of write, and nothing where there was none", async (t) => {
  const seen = async (...argv: readonly string[]) => {
    const watch = await KernelWatch.start(gateway, toolbox);
    await inGateway(...argv);
    return (await watch.stop()).join("\n");
  };
  t.equal(await seen("iptables-nft-save"), "", "reading rules");
  t.equal(await seen("iptables-legacy-save"), "", "reading legacy rules");
  t.equal(await seen("ip", "route", "show", "table", "all"), "", "reading routes");
  t.match(await seen("iptables-nft", "-t", "nat", "-N", "X"), /X/, "a chain");
  t.match(await seen("nft", "add", "table", "ip", "other"), /add table ip other/, "a table");
  t.match(await seen("iptables-legacy", "-t", "nat", "-N", "X"), /:X -/, "a legacy chain");
  t.match(
    await seen("iptables-legacy", "-t", "nat", "-F"),
    /ran iptables-legacy/,
    "a legacy flush of nothing",
  );
  t.match(
    await seen("ip", "address", "add", "203.0.113.77/24", "dev", "net1"),
    /203\.0\.113\.77/,
    "an address",
  );
  t.match(await seen("ip", "route", "add", "default", "via", "203.0.113.1"), /default/, "a route");
  t.match(await seen("ip", "link", "set", "net1", "mtu", "1400"), /net1/, "a link");
});

t.test("a toolbox injects faults as ordered and records each call", async (t) => {
  const list = ["nft", "list", "ruleset"];
  const whole = await inGateway(...list);
  await toolbox.break("nft", "fails", 2);
  await t.rejects(inGateway(...list), /injected failure/);
  await t.rejects(inGateway(...list), /injected failure/);
  t.equal(await inGateway(...list), whole, "and works again after two");
  await toolbox.break("nft", "truncates");
  t.equal(await inGateway(...list), whole.slice(0, 200));
  await toolbox.break("nft", "dies");
  await t.rejects(inGateway(...list), /SIGKILL/);
  await toolbox.break("iptables-nft", "failsAfterwards", 1);
  await t.rejects(inGateway("iptables-nft", "-t", "nat", "-N", "DONE"), /injected failure/);
  await toolbox.mend("nft");
  t.match(await inGateway(...list), /chain DONE/, "what fails afterwards was done");
  t.equal(
    (await toolbox.calls()).filter((call) => call.tool === "nft" && call.args === "list ruleset").length,
    7,
  );
});

t.test("the cleanup removes leftovers of dead runs and nothing else", async (t) => {
  const dead = spawnedAndGone();
  const left = new Lab(`natgwt-${await dead}-x`, 1);
  await left.up();
  await mkdir(join(tmpdir(), left.name));
  await lab.exec("gw", ["true"]);
  const swept = await sweep();
  t.ok(swept.includes(`${left.name}-gw`) && swept.includes(left.name));
  t.same(
    (await listNamespaces()).filter((name) => name.startsWith(left.name)),
    [],
  );
  t.same(
    (await standingLabs(lab.name)).map((found) => found.hosts),
    [lab.hosts],
  );
});

t.test("a recreated gateway is empty, and reachable at once", async (t) => {
  await lab.renewGateway();
  t.notMatch(await inGateway("nft", "list", "ruleset"), /chain/);
  const pod1 = new Host(lab, "pod1");
  const gw = new Host(lab, "gw");
  t.teardown(() => Promise.all([pod1.stop(), gw.stop()]));
  await gw.serve("tcp", 90);
  const target = { transport: "tcp", address: "10.0.1.254", port: 90 } as const;
  await t.rejects(gw.serve("tcp", 90), /gw: .*EADDRINUSE/, "a port is served once");
  t.match(await pod1.ask(target), { answeredBy: "gw" });
  await t.rejects(
    new Host(lab, "pod9").ask(target),
    /pod9: .*ENOENT/,
    "a host that is not there asks nobody",
  );
  t.match(await pod1.ask(target), { answeredBy: "gw" }, "and the others go on");
  await gw.stop();
  t.same(await pod1.ask(target), { silence: "ECONNREFUSED" }, "a host that was stopped serves no longer");
});

/** The pid of a process that has ended. */
async function spawnedAndGone(): Promise<number> {
  return Number(await run("sh", ["-c", "echo $$"]));
}
