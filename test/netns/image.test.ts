/** The files of the image at work: process 1, its agent, and the commands that Kube-OVN's controller calls. */
import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import t from "tap";
import { Container, kubeOvnDirectory } from "../support/container.ts";
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
  // They return though the supervisor and the agent go on, or this would never end.
  const calls = await Promise.all(
    Array.from({ length: 12 }, () => container.exec("natgw-supervisor", "start")),
  );
  t.strictSame(
    calls.map(({ status, output }) => `${status} ${output}`),
    calls.map(() => "0 "),
  );
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

t.test("Kube-OVN's checks R1 to R10, with the hook racing", async (t) => {
  const environment = {
    GATEWAY_V4: "203.0.113.1",
    NATGW_ADOPT: "auto",
    NATGW_ARP_PROBE: "0",
    NATGW_STATE_DIR: "/run/state",
  };
  const container = await Container.start(t, { environment });
  const links = [
    "ip link add eth0 type veth peer name net1",
    "ip address add 10.0.1.254/24 dev eth0",
    "ip address add 203.0.113.254/24 dev net1",
    "ip link set eth0 up",
    "ip link set net1 up",
  ];
  t.equal((await container.exec("sh", "-ec", links.join("\n"))).status, 0);
  const script = `${kubeOvnDirectory}/nat-gateway.sh`;
  const call = async (...args: readonly string[]) => {
    const { status, output } = await container.exec("bash", "-c", `bash ${script} ${args.join(" ")}`);
    return `${status} ${output}`;
  };
  const [hook, init] = await Promise.all([
    container.exec("sh", "-c", "sysctl -w net.ipv4.ip_forward=1"),
    call("init"),
  ]);
  t.match(hook, { status: 0, output: "net.ipv4.ip_forward = 1" });
  t.equal(init, "0 ");
  t.match(await call("get-iptables-version"), /^0 iptables v1\.\d/);
  const [e, other] = ["203.0.113.10", "203.0.113.11"];
  for (const args of [
    ["eip-add", `${e}/24`, `${other}/24`],
    ["floating-ip-add", `${e},10.0.1.5`],
    ["snat-add", `${other},10.0.0.0/16,--random-fully`],
    ["snat-add", `${other},10.0.1.0/24,--random-fully`],
    ["dnat-add", `${other},80,TCP,10.0.1.6,8080`],
    ["nft-dnat-map-add", `${other},81,tcp,10.0.1.5:80@10.0.1.6:80@10.0.1.7:80`],
    ["eip-egress-qos-add", `${e},1,10,1`],
    ["eip-ingress-qos-add", `${e},1,10,1`],
  ])
    t.equal(await call(...args), "0 ", args.join(" "));
  const show = async (...command: readonly string[]) => {
    const { status, output } = await container.exec(...command);
    t.equal(status, 0, command.join(" "));
    return output;
  };
  t.not((await container.exec("iptables-legacy", "-t", "nat", "-S", "INPUT", "1")).status, 0);
  const rules = await show("iptables-save");
  t.match(rules, new RegExp(`-A EXCLUSIVE_DNAT -d \\b${e}/32\\b .* --to-destination \\b10.0.1.5\\b`), "R1");
  t.match(rules, new RegExp(`-A EXCLUSIVE_SNAT -s \\b10.0.1.5/32\\b .* --to-source \\b${e}\\b`), "R2");
  const dnat = `-A SHARED_DNAT -d \\b${other}/32\\b -p tcp .* --dport 80 -j DNAT --to-destination \\b10.0.1.6:8080\\b`;
  t.match(rules, new RegExp(dnat), "R3");
  t.match(rules, new RegExp(`-A SHARED_SNAT\\b.*-s 10.0.0.0/16.*--to-source ${other}\\b`), "R4");
  const hairpin = `-A HAIRPIN_SNAT -o \\b.*\\b -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst \\b${e}\\b -j SNAT --to-source \\b${e}\\b`;
  t.match(rules, new RegExp(hairpin), "R5");
  const lengths = [...rules.matchAll(/^-A SHARED_SNAT -s [\d.]+\/(\d+)/gm)].map(([, length]) =>
    Number(length),
  );
  t.strictSame(lengths, [24, 16], "R6");
  const drawn = await show("nft", "list", "table", "ip", "kube-ovn");
  t.match(drawn, new RegExp(`${other} \\. tcp \\. 81 : goto`), "R7");
  t.match(drawn, /numgen random mod 3 map/, "R7");
  for (const backend of [5, 6, 7]) t.match(drawn, `10.0.1.${backend} . 80`, "R7");
  await show("sh", "-c", "conntrack -L 2>/dev/null");
  for (const device of ["net1", "ifb-net1"])
    t.match(await show("tc", "class", "show", "dev", device), /rate (?:10Mbit|10000Kbit)/, "R9");
  const addresses = await show("ip", "addr", "show");
  for (const address of [e, other]) t.match(addresses, `${address}/24`, "R10");
  t.equal(await show("natgwctl", "get", "fips", "-o", "name"), `fips/${e}\n`);
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
  for (const script of copied.filter((source) => source.endsWith(".ts"))) {
    const imported = Array.from(
      (await readFile(script, "utf8")).matchAll(/ from "\.\/(.*)";$/gm),
      ([, name]) => name,
    );
    for (const name of imported) t.ok(copied.includes(`scripts/${name}`), `scripts/${name}, for ${script}`);
  }
  for (const name of await readdir("scripts/image")) {
    const { mode } = await stat(`scripts/image/${name}`);
    t.equal(mode & 0o111, 0o111, `${name} can be executed`);
  }
});
