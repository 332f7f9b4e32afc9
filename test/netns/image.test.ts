/** The files of the image at work: process 1, its agent, and the commands that Kube-OVN's controller calls. */
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import t from "tap";
import { Container } from "../support/container.ts";
import { until } from "../support/run.ts";

/** Notes when it starts, and when it is asked to end. */
const agent = `
echo "start $(date +%s%3N) $$" >>/run/agent.log
trap 'echo term >>/run/agent.log; exit 0' TERM
while :; do /bin/sleep 0.05; done`;

const gatewayPod = { GATEWAY_V4: "" };

/** The starts of the agent: when, in ms, and its process. */
async function startsOf(container: Container) {
  const log = await container.read("/run/agent.log");
  return Array.from(log.matchAll(/^start (\d+) (\d+)$/gm), ([, at, pid]) => ({
    at: Number(at),
    pid: Number(pid),
  }));
}

async function started(container: Container, count: number) {
  await until(`start ${count} of the agent`, async () => (await startsOf(container)).length >= count);
  return startsOf(container);
}

t.test("process 1 starts the agent again, with a growing pause, and never ends", async (t) => {
  const container = await Container.start(t, { environment: gatewayPod, agent });
  await started(container, 1);
  t.match((await container.processes()).get(1)?.command, /natgw-supervisor run$/);
  for (let count = 1; count <= 4; count++) {
    const last = (await started(container, count)).at(-1);
    await container.exec("sh", "-c", `kill -KILL ${last?.pid}`);
  }
  const starts = await started(container, 5);
  const pauses = starts.slice(1).map(({ at }, index) => at - (starts[index]?.at ?? 0));
  for (const [index, least] of [200, 400, 800, 1_600].entries()) {
    const pause = pauses[index] ?? 0;
    t.ok(pause >= least && pause < least + 5_000, `pause ${index}: ${pause} ms, at least ${least}`);
  }
  t.match(container.output, /the agent ended with status 137, it starts again in 1600 ms/);
  t.ok(container.isRunning);
});

t.test("nor does it end where there is no agent", async (t) => {
  const container = await Container.start(t, { environment: gatewayPod, agent: "exec /does/not/exist" });
  await until("three attempts", async () => container.output.split("starts again").length > 3);
  t.ok(container.isRunning);
  container.signal("SIGTERM");
  t.equal(await container.end(), 0, "SIGTERM ends it in a pause, too");
});

t.test("SIGTERM reaches the agent, and process 1 ends after it", async (t) => {
  const slow = agent.replace("echo term", "/bin/sleep 0.5; echo term");
  const container = await Container.start(t, { environment: gatewayPod, agent: slow });
  await started(container, 1);
  const log = container.read.bind(container, "/run/agent.log");
  container.signal("SIGHUP");
  container.signal("SIGTERM");
  let last = "";
  const seen = until("the agent's end", async () => {
    last = (await log()) || last;
    return !container.isRunning;
  });
  t.equal(await container.end(), 0);
  await seen;
  t.match(last, /^start \d+ \d+\n/);
  t.equal(last.match(/start/g)?.length, 1, "it was not started again");
});

t.test("process 1 reaps what others left behind", async (t) => {
  const container = await Container.start(t, { environment: gatewayPod, agent });
  await started(container, 1);
  // The shell ends at once, its children 0.2 s later.
  await container.exec("sh", "-c", "for i in 1 2 3 4 5; do /bin/sleep 0.2 & done");
  // The agent of this test is never without a sleeper of its own.
  await until("the five to end and to be reaped", async () => {
    const all = [...(await container.processes()).values()];
    return all.every(({ state, command }) => state !== "Z" && command !== "/bin/sleep 0.2");
  });
  t.pass();
});

t.test("without GATEWAY_V4, and other than as process 1, sleep sleeps", async (t) => {
  const container = await Container.start(t, { agent });
  const first = async () => (await container.processes()).get(1)?.command;
  await until("process 1 to sleep", async () => (await first()) === "/bin/sleep infinity");
  const before = Date.now();
  t.equal((await container.exec("sleep", "0.3")).status, 0);
  t.ok(Date.now() - before >= 300);
  t.equal((await container.exec("env", "GATEWAY_V4=203.0.113.1", "sleep", "0.1")).status, 0);
  t.strictSame(await startsOf(container), [], "no agent");
});

t.test("the first of many calls starts the supervisor in an older pod", async (t) => {
  const container = await Container.start(t, { agent });
  const before = Date.now();
  const calls = await Promise.all(
    Array.from({ length: 12 }, () => container.exec("natgw-supervisor", "start")),
  );
  t.strictSame(
    calls.map(({ status, output }) => `${status} ${output}`),
    calls.map(() => "0 "),
  );
  t.ok(Date.now() - before < 5_000, "they return");
  const [first] = await started(container, 1);
  await container.exec("sh", "-c", `kill -KILL ${first?.pid}`);
  t.equal((await started(container, 2)).length, 2);
  const supervisors = [...(await container.processes()).values()].filter(({ command }) =>
    command.endsWith("natgw-supervisor run natgw-agent"),
  );
  t.equal(supervisors.length, 1);
  t.match(container.output, "the agent ended with status 137", "its words are in the container's log");
});

t.test("sysctl", async (t) => {
  const plain = await Container.start(t, { agent });
  const sysctl = async (...given: readonly string[]) => {
    const { status, output } = await plain.exec("sysctl", ...given);
    return `${status} ${output}`;
  };
  t.equal(await sysctl("-w", "net.ipv4.ip_forward=1"), "0 net.ipv4.ip_forward = 1\n");
  t.equal(await sysctl("-n", "net.ipv4.ip_forward"), "0 1\n");
  t.equal(await sysctl("-q", "-w", "net.ipv4.conf.lo.rp_filter=2", "net/ipv4/conf/lo/rp_filter=2"), "0 ");
  t.equal(await sysctl("net.ipv4.conf.lo.rp_filter"), "0 net.ipv4.conf.lo.rp_filter = 2\n");
  t.equal(await sysctl("net.ipv4.nothing=1"), "1 sysctl: net.ipv4.nothing does not exist\n");
  t.equal(await sysctl("-e", "net.ipv4.nothing=1"), "0 ");
  t.match(await sysctl("net.ipv4.ip_forward=x"), /^1 sysctl: net.ipv4.ip_forward cannot be set to x/);
  t.match(await sysctl("--load"), /^1 sysctl: unknown option --load/);
});

t.test("the hook that sets forwarding waits for the agent, which does it behind its gate", async (t) => {
  const forwarding = "/proc/sys/net/ipv4/ip_forward";
  const setting = `/bin/sleep 0.7; echo "before: $(cat ${forwarding})" >>/run/agent.log; echo 1 >${forwarding}\n${agent}`;
  const container = await Container.start(t, { environment: gatewayPod, agent: setting });
  const hook = await container.exec("sh", "-c", "sysctl -w net.ipv4.ip_forward=1");
  t.match(hook, { status: 0, output: "net.ipv4.ip_forward = 1" });
  t.match(await container.read("/run/agent.log"), /^before: 0\n/, "the hook did not set it first");

  const late = await Container.start(t, { environment: gatewayPod, agent });
  const before = Date.now();
  t.equal((await late.exec("sh", "-c", "sysctl -w net.ipv4.ip_forward=1")).status, 0);
  t.equal(
    (await late.exec("cat", forwarding)).output,
    "1\n",
    "where the agent does not set it, the hook does in the end",
  );
  t.ok(Date.now() - before > 4_000);
});

t.test("iptables-legacy fails where the agent does not use it, and creates nothing", async (t) => {
  const container = await Container.start(t, { agent });
  const probe = () => container.exec("iptables-legacy", "-t", "nat", "-S", "INPUT", "1");
  t.match(await probe(), {
    status: 1,
    output: "iptables-legacy: this gateway has no rules of iptables-legacy",
  });
  t.notMatch((await container.exec("cat", "/proc/net/ip_tables_names")).output, "nat");
  await container.exec("/opt/natgw/legacy/iptables-legacy", "-t", "nat", "-N", "DNAT_FILTER");
  t.match(await probe(), { status: 0 });
  t.match(await container.exec("iptables-legacy-save"), { status: 0, output: ":DNAT_FILTER" });
});

t.test("the agent itself, as process 1's child", async (t) => {
  const container = await Container.start(t, {
    environment: { GATEWAY_V4: "", NATGW_ADOPT: "auto", NATGW_STATE_DIR: "/run/state", NATGW_ARP_PROBE: "0" },
  });
  const { status } = await container.exec(..."ip link add eth0 up type veth peer name net1".split(" "));
  t.equal(status, 0);
  const answers = async () => {
    const { output } = await container.exec(
      ...["curl", "--silent", "--unix-socket", "/run/natgw/agent.sock", "http://agent/readyz"],
    );
    return output === "ok\n" || output === "ok";
  };
  const hook = await container.exec("sh", "-c", "sysctl -w net.ipv4.ip_forward=1");
  t.equal(hook.status, 0);
  await until("the agent to answer", answers, 20_000);
  const find = async () =>
    [...(await container.processes())].find(([, { command }]) => command.startsWith("node "))?.[0];
  const first = await find();
  await container.exec("sh", "-c", `kill -KILL ${first}`);
  await until("another agent", async () => (await find()) !== undefined && (await find()) !== first, 20_000);
  await until("it to answer", answers, 20_000);
  container.signal("SIGTERM");
  t.equal(await container.end(), 0);
});

t.test("the Containerfile copies what is there", async (t) => {
  const text = await readFile("Containerfile", "utf8");
  const ignored = await readFile(".containerignore", "utf8");
  const copied = [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, sources = ""]) =>
    sources.split(" "),
  );
  t.ok(copied.length > 5);
  for (const source of copied) {
    t.ok(existsSync(source), source);
    const isSent = ignored
      .split("\n")
      .some((line) => line.startsWith("!") && source.startsWith(line.slice(1)));
    t.ok(isSent, `.containerignore keeps ${source}`);
  }
  for (const name of await readdir("scripts/image")) {
    const { mode } = await stat(`scripts/image/${name}`);
    t.equal(mode & 0o111, 0o111, `${name} can be executed`);
  }
});
