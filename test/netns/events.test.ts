import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import t, { type Test } from "tap";
import {
  createKernelEvents,
  networkMonitor,
  ruleMonitor,
  type WakeKind,
} from "../../agent/kernel/events/kernel-events.ts";
import { hasGroups } from "../../agent/kernel/events/subscription.ts";
import { createLog } from "../../agent/log.ts";
import { ipv4 } from "../../lib/model/ipv4.ts";
import { enterNamespace } from "../support/enter-namespace.ts";
import { inNamespace } from "../support/in-namespace.ts";
import { addNamespaces, deleteNamespaces, ipBatch, pidsIn, testName } from "../support/namespaces.ts";
import { netlinkSockets } from "../support/netlink-sockets.ts";
import { run, until } from "../support/run.ts";

const namespace = testName("events");
await addNamespaces([namespace]);
t.teardown(() => deleteNamespaces([namespace]));
await ipBatch(namespace, [
  "link add net1 type veth peer name peer1",
  "link set peer1 up",
  "link set net1 up",
]);
const leave = enterNamespace(namespace);

const wakes: WakeKind[] = [];
const losses: string[] = [];
const events = createKernelEvents({
  monitors: [networkMonitor(ipv4), ruleMonitor],
  onWake: (kind) => wakes.push(kind),
  onLost: (reason) => losses.push(reason),
  log: createLog("silent", { version: "test" }),
  restartPauseMs: 10,
});
await events.start();
const netlinkTable = readFileSync("/proc/self/net/netlink", "latin1");
t.teardown(async () => {
  await events.stop();
  leave();
});

/** The pids of this namespace's monitors by command. */
async function monitors(): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (const pid of await pidsIn(namespace)) {
    const argv = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
    if (argv.includes("monitor")) found.set(argv[0] ?? "", pid);
  }
  return found;
}

/** Bytes of events that a monitor has not read yet. While there are any after an overrun, the kernel drops others without an error. */
function waitingFor(pid: number): number {
  const sockets = netlinkSockets(readFileSync("/proc/self/net/netlink", "latin1"));
  return sockets.find(({ protocol, port }) => protocol === 0 && port === pid)?.unread ?? Number.NaN;
}

async function wakeOf(t: Test, kind: WakeKind, change: () => Promise<unknown>): Promise<void> {
  wakes.length = 0;
  await change();
  await until(`a wake of kind ${kind}`, () => wakes.includes(kind));
  t.pass(kind);
}

const nft = (command: string) => run("nft", [command]);
const ip = (...args: string[]) => run("ip", args);

t.test("start resolves when both monitors have subscribed", async (t) => {
  for (const pid of (await monitors()).values()) t.ok(hasGroups(netlinkTable, pid));
  t.equal((await monitors()).size, 2);
});

t.test("once started, each kind of change wakes", async (t) => {
  await wakeOf(t, "address", () => ip("address", "add", "203.0.113.2/24", "dev", "net1"));
  await wakeOf(t, "address", () => ip("address", "del", "203.0.113.2/24", "dev", "net1"));
  await ip("address", "add", "203.0.113.2/24", "dev", "net1");
  await wakeOf(t, "route", () => ip("route", "add", "10.0.0.0/8", "via", "203.0.113.1"));
  await wakeOf(t, "route", () => ip("rule", "add", "from", "10.0.0.0/8", "lookup", "100"));
  await wakeOf(t, "sysctl", () => run("sysctl", ["--quiet", "--write", "net.ipv4.ip_forward=1"]));
  await wakeOf(t, "sysctl", () => run("sysctl", ["--quiet", "--write", "net.ipv4.conf.net1.forwarding=0"]));
  await wakeOf(t, "sysctl", () => run("sysctl", ["--quiet", "--write", "net.ipv4.conf.net1.rp_filter=1"]));
  await wakeOf(t, "rule", () => run("iptables-nft", ["-t", "nat", "-N", "SNAT_FILTER"]));
  await wakeOf(t, "rule", () => run("iptables-nft", ["-t", "nat", "-A", "SNAT_FILTER", "-j", "RETURN"]));
  await wakeOf(t, "rule", () => run("iptables-nft", ["-t", "nat", "-F"]));
  await wakeOf(t, "rule", () => nft("add table ip foreign"));
  await wakeOf(t, "link", () => ip("link", "set", "net1", "down"));
  await wakeOf(t, "link", () => ip("link", "set", "net1", "up"));
  t.strictSame(losses, []);
});

t.test("reads do not wake the reconciler", async (t) => {
  await wakeOf(t, "address", () => ip("address", "add", "203.0.113.3/24", "dev", "net1"));
  await wakeOf(t, "rule", () => nft("add table ip marker"));
  wakes.length = 0;
  await run("nft", ["list", "ruleset"]);
  await run("iptables-nft-save", []);
  await ip("address");
  // Events come in order: an event of the readings would stand before this one.
  await nft("delete table ip marker");
  await until("the wake of the change", () => wakes.includes("rule"));
  t.strictSame(wakes, ["rule"]);
});

t.test("a burst of 5,000 address events causes few wakes, and later events are still seen", async (t) => {
  wakes.length = 0;
  const lines = Array.from({ length: 5000 }, (_, n) => `address add 198.18.${n >> 8}.${n & 255}/15 dev net1`);
  await ipBatch(namespace, lines);
  await until("a wake", () => wakes.includes("address"));
  t.ok(wakes.length < 2000, `${wakes.length} wakes`);
  await wakeOf(t, "address", () => ip("address", "flush", "dev", "net1"));
  await wakeOf(t, "rule", () => nft("add table ip after"));
  await wakeOf(t, "address", () => ip("address", "add", "203.0.113.4/24", "dev", "net1"));
});

t.test("an overrun is reported as a loss, and the monitor continues", async (t) => {
  const pid = (await monitors()).get("ip") ?? 0;
  await until("the monitor to have read every event", () => waitingFor(pid) === 0);
  losses.length = 0;
  process.kill(pid, "SIGSTOP");
  const lines = Array.from({ length: 5000 }, (_, n) => `address add 198.18.${n >> 8}.${n & 255}/15 dev net1`);
  await ipBatch(namespace, lines);
  process.kill(pid, "SIGCONT");
  await until("the loss", () => losses.includes("ip monitor lost events"));
  await wakeOf(t, "address", () => ip("address", "flush", "dev", "net1"));
  t.equal((await monitors()).get("ip"), pid, "the same child");
});

t.test("a killed monitor is a loss at once, and another when its successor listens", async (t) => {
  for (const [command, kind, change] of [
    ["ip", "address", () => ip("address", "add", "203.0.113.5/24", "dev", "net1")],
    ["nft", "rule", () => nft("add table ip resurrected")],
  ] as const) {
    losses.length = 0;
    process.kill((await monitors()).get(command) ?? 0, "SIGKILL");
    await until("both losses", () => losses.length >= 2);
    t.strictSame(losses, [`${command} monitor ended`, `${command} monitor was restarted`]);
    await wakeOf(t, kind, change);
  }
});

t.test("monitors die with an agent that is killed", async (t) => {
  const urlOf = (path: string) => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
  const program = `
    import { createKernelEvents, networkMonitor, ruleMonitor } from ${urlOf("agent/kernel/events/kernel-events.ts")};
    import { ipv4 } from ${urlOf("lib/model/ipv4.ts")};
    const log = { warn() {} };
    const monitors = [networkMonitor(ipv4), ruleMonitor];
    await createKernelEvents({ monitors, onWake() {}, onLost() {}, log }).start();
    console.log("listening");
  `;
  const other = testName("killed");
  await addNamespaces([other]);
  t.teardown(() => deleteNamespaces([other]));
  const [command = "", ...args] = inNamespace(other, [
    process.execPath,
    "--input-type=module",
    "-e",
    program,
  ]);
  const agent = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], timeout: 60_000 });
  await once(agent.stdout, "data");
  t.equal((await pidsIn(other)).length, 3);
  agent.kill("SIGKILL");
  await until("the end of its children", async () => (await pidsIn(other)).length === 0);
});

t.test("stop leaves no child behind", async (t) => {
  await events.stop();
  t.strictSame([...(await monitors())], []);
  await events.stop();
});
