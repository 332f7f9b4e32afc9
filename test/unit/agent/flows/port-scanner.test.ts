/** When the table is scanned, and what becomes of a scan that fails. */
import t from "tap";
import {
  PortScanner,
  type PortScannerDeps,
  pauseAfter,
  type Scanned,
} from "../../../../agent/flows/port-scanner.ts";
import type { FlowVisitor } from "../../../../agent/kernel/conntrack/scan.ts";
import { viewOf } from "../../../../lib/conntrack/flow.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import type { ConntrackEntry } from "../../../../lib/netlink/ctnetlink-entry.ts";
import { censusKey } from "../../../../lib/ports/census.ts";
import { flow, ip } from "../../../support/conntrack-samples.ts";
import { until } from "../../../support/run.ts";

const one = viewOf(flow("udp 10.0.1.5:1 198.51.100.7:53 | 198.51.100.7:53 203.0.113.10:1024"), ipv4);
const address = ip("203.0.113.10");
const eips = new Map([[censusKey(ipv4, address), { name: "eip-10", address }]]);
const forever = new AbortController().signal;

function setUp(more: Partial<PortScannerDeps> = {}) {
  const scans: { readonly eips: readonly string[]; readonly done: (error?: Error) => void }[] = [];
  const told: Scanned[] = [];
  const warnings: unknown[] = [];
  const scanner = new PortScanner({
    family: ipv4,
    eips: async () => eips,
    scan: (eips, visit: FlowVisitor, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        visit({ view: one, tcpState: 0 } as ConntrackEntry, new DataView(new ArrayBuffer(0)), 0, 0);
        scans.push({ eips, done: (error) => (error === undefined ? resolve() : reject(error)) });
      }),
    onScanned: async (scanned) => void told.push(scanned),
    wallMs: () => 0,
    log: { warn: (facts: unknown) => warnings.push(facts) } as never,
    minIntervalMs: 1,
    ...more,
  });
  return { scanner, scans, told, warnings };
}

t.test("one scan at a time, whoever asks; later requests start none", async (t) => {
  const { scanner, scans, told } = setUp({ minIntervalMs: 60_000 });
  scanner.start();
  const both = [scanner.latest(forever), scanner.latest(forever)];
  await until("a scan", async () => scans.length > 0);
  t.equal(scans.length, 1);
  t.strictSame(scans[0]?.eips, ["203.0.113.10"]);
  scans[0]?.done();
  const [first, second] = await Promise.all(both);
  t.equal(first, second);
  t.equal(await scanner.latest(forever), first);
  t.equal(first?.census.destinations.size.destinations, 1);
  t.equal(scans.length, 1);
  t.equal(told.length, 1);
  await scanner.stop();
});

t.test("the census before is kept without its clients; a failed scan changes nothing", async (t) => {
  const { scanner, scans, told, warnings } = setUp();
  scanner.start();
  await until("a scan", async () => scans.length === 1);
  scans[0]?.done();
  await until("another", async () => scans.length === 2);
  scans[1]?.done(new Error("no"));
  await until("a third", async () => scans.length === 3);
  t.equal(warnings.length, 1);
  t.equal((await scanner.latest(forever)).before, undefined);
  scans[2]?.done();
  await until("its result", async () => told.length === 2);
  t.equal(told[1]?.before, told[0]?.census);
  t.same(told[1]?.before?.destinations.size, { destinations: 1, clients: 0 });
  t.same(told[1]?.census.destinations.size, { destinations: 1, clients: 1 });
  await scanner.stop();
});

t.test(
  "whoever waits for a first scan that fails gets its error, and nobody waits after the end",
  async (t) => {
    const { scanner, scans } = setUp({ minIntervalMs: 60_000 });
    scanner.start();
    const asked = scanner.latest(forever);
    await until("a scan", async () => scans.length === 1);
    scans[0]?.done(new Error("no"));
    await t.rejects(asked, { message: "no" });
    const gone = new AbortController();
    const waiting = scanner.latest(gone.signal);
    gone.abort(new Error("left"));
    await t.rejects(waiting, { message: "left" });
    const last = scanner.latest(forever);
    last.catch(() => undefined);
    await scanner.stop();
    await t.rejects(last);
  },
);

t.test("the pause makes the scans' share of a core 1 % at most", async (t) => {
  t.equal(pauseAfter(0), 5_000);
  t.equal(pauseAfter(40), 5_000);
  t.equal(pauseAfter(340), 42_500);
  let cpuMs = 0;
  const { scanner, scans } = setUp({ cpuMs: () => cpuMs });
  scanner.start();
  await until("a scan", async () => scans.length === 1);
  cpuMs += 600_000;
  scans[0]?.done();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(scans.length, 1, "after an expensive scan the next one is far away");
  await scanner.stop();
});
