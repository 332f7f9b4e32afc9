import t from "tap";
import {
  createKernelEvents,
  finder,
  type MonitorCommand,
  networkMonitor,
  type WakeKind,
} from "../../../../../agent/kernel/events/kernel-events.ts";
import { hasGroups } from "../../../../../agent/kernel/events/subscription.ts";
import { createLog } from "../../../../../agent/log.ts";
import { ipv4 } from "../../../../../lib/model/ipv4.ts";
import { until } from "../../../../support/run.ts";

const log = createLog("silent", { version: "test" });

/** Events of a shell script in place of a monitor. */
function eventsOf(
  script: string,
  kinds: MonitorCommand["kinds"] = networkMonitor(ipv4).kinds,
  command = "sh",
) {
  const wakes: WakeKind[] = [];
  const losses: string[] = [];
  const events = createKernelEvents({
    monitors: [{ argv: [command, "-c", script], kinds }],
    onWake: (kind) => wakes.push(kind),
    onLost: (reason) => losses.push(reason),
    log,
    restartPauseMs: 1,
  });
  const started = events.start();
  return { events, wakes, losses, started };
}

t.test("a burst of lines is read completely and causes few wakes", async (t) => {
  // If nobody read the pipe, the script would never reach the loss at its end.
  const script = `yes '[ADDR]2: net1 inet 203.0.113.1/24' | head -n 200000; echo '[LINK]2: net1'; exec sleep 60`;
  const { events, wakes } = eventsOf(script);
  await until("the last line", () => wakes.includes("link"));
  t.ok(wakes.includes("address"));
  t.notOk(wakes.includes("route"));
  t.ok(wakes.length < 500, `${wakes.length} wakes`);
  await events.stop();
});

t.test("an overrun message on stdout or stderr is a loss, other messages are not", async (t) => {
  const complaints: readonly [script: string, reasons: readonly string[]][] = [
    [
      "echo 'netlink receive error No buffer space available (105)' >&2; exec sleep 60",
      ["sh monitor lost events"],
    ],
    ["echo '# ERROR: We lost some netlink events!'; exec sleep 60", ["sh monitor lost events"]],
    ["echo 'Warning: something else' >&2; echo '[LINK]'; exec sleep 60", []],
  ];
  for (const [script, reasons] of complaints) {
    const { events, losses, wakes } = eventsOf(script);
    await until("a loss or a wake", () => losses.length > 0 || wakes.length > 0);
    t.strictSame(losses, reasons, script);
    await events.stop();
  }
});

t.test("a monitor that ends or cannot start is a loss, and is restarted until stop", async (t) => {
  for (const [script, command] of [
    ["echo '[ROUTE]'", "sh"],
    ["", "/nonexistent/ip"],
  ] as const) {
    const { events, losses, started } = eventsOf(script, networkMonitor(ipv4).kinds, command);
    await started;
    await until("two ends", () => losses.length >= 2);
    t.strictSame([...new Set(losses)].slice(0, 1), [`${command} monitor ended`]);
    await events.stop();
    const count = losses.length;
    await events.stop();
    t.equal(losses.length, count, "nothing is told after stop");
  }
});

t.test("a monitor that listens late is not waited for, and then wakes once", async (t) => {
  const wakes: WakeKind[] = [];
  const events = createKernelEvents({
    monitors: [
      { argv: ["sh", "-c", "sleep 0.5; exec ip monitor label link"], kinds: networkMonitor(ipv4).kinds },
    ],
    onWake: (kind) => wakes.push(kind),
    onLost: (reason) => t.fail(reason),
    log,
    patienceMs: 1,
  });
  await events.start();
  t.strictSame(wakes, []);
  await until("the wakes", () => wakes.length > 0);
  t.strictSame(wakes.toSorted(), ["address", "link", "route", "sysctl"]);
  await events.stop();

  const prompt = createKernelEvents({
    monitors: [{ argv: ["ip", "monitor", "label", "link"], kinds: networkMonitor(ipv4).kinds }],
    onWake: (kind) => t.fail(kind),
    onLost: (reason) => t.fail(reason),
    log,
    patienceMs: 60_000,
  });
  await prompt.start();
  await prompt.stop();
});

t.test("stop ends a monitor that ignores polite signals, and one that is not listening yet", async (t) => {
  const { events, started, losses } = eventsOf(
    "trap '' TERM INT HUP; echo '[ADDR]'; while :; do sleep 1; done",
  );
  await events.stop();
  await started;
  t.strictSame(losses, []);
});

t.test("markers are found wherever the stream is cut, each once", async (t) => {
  const text = "[ADDR]a\n[ROUTE]b\n# new generation 7 by process 9 (nft)\n[ROUTE]c\n";
  const markers = ["[ADDR]", "[ROUTE]", "# new generation", "[LINK]"];
  for (let size = 1; size <= text.length; size++) {
    const find = finder(markers);
    const counts = new Map<string, number>();
    for (let at = 0; at < text.length; at += size) {
      for (const marker of find(text.slice(at, at + size))) counts.set(marker, (counts.get(marker) ?? 0) + 1);
    }
    t.strictSame(
      [counts.get("[ADDR]"), counts.get("# new generation"), counts.get("[LINK]")],
      [1, 1, undefined],
    );
    t.ok([1, 2].includes(counts.get("[ROUTE]") ?? 0), `cut every ${size}`);
  }
});

t.test("the kernel's table of netlink sockets shows which process listens", async (t) => {
  const table = [
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode",
    "000000008df187fc 0   7232       00000051 0        0        0     2        0        12460   ",
    "00000000362ff342 12  7233       00000000 0        0        0     2        0        12462   ",
  ].join("\n");
  t.equal(hasGroups(table, 7232), true);
  t.equal(hasGroups(table, 7233), false, "has a socket, joined nothing yet");
  t.equal(hasGroups(table, 723), false);
  t.equal(hasGroups("", 7232), false);
});
