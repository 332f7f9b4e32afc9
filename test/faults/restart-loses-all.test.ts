/**
 * The fault: a restart loses everything.
 *
 * Seen in the field: the gateway's container restarted after a crash, an eviction or an out-of-memory kill, with an
 * empty kernel. The component that had to program it again looked at the pod's creation time, which had not changed, so
 * it did nothing: every tenant behind the gateway was cut off until a person deleted the pod. Where it was programmed
 * again, pods that had kept sending in the meantime had created flows that no rule translated, for as long as they
 * lived.
 *
 * In this test the agent is killed and restarted in the same namespace, in new and empty ones with pods that never stop
 * sending, and on a running gateway that was damaged by hand. There is no controller to ask: the agent has only its
 * state directory.
 */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import type { HostStream } from "../support/host.ts";
import { labAddresses, vpcRoute } from "../support/lab.ts";
import type { Harm } from "../support/rules-by-hand.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, outsideUdp, tcp } from "../support/targets.ts";
import { WireWatch } from "./wire-watch.ts";

const web = { eip: "eip-11", protocol: "tcp", externalPort: 8080, internalIp: "10.0.1.6", internalPort: 80 };
const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12), eip(13)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  dnats: [{ name: "web", ...web }],
  snats: [
    { name: "all", eip: "eip-12", internalCIDR: "10.0.0.0/16" },
    { name: "near", eip: "eip-13", internalCIDR: "10.0.1.0/24" },
  ],
  routes: [{ name: "far", destination: "10.0.0.0/16", via: "10.0.1.6" }],
};

/** A second address of pod2, behind it from the gateway's view: it uses the wider SNAT. */
const farPod = "10.0.7.7";

// The test mostly waits: for replies on the wire, for leases, and for what is sent again.
t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, dataplane, { NATGW_RESYNC_INTERVAL: "1s" });
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    await gw.lab.ip("pod2", `address add ${farPod}/32 dev eth0`);
    t.equal((await gw.api.putSet(set)).status, 200);
    // Single writes besides the full set: they must come back too, and what they deleted must not.
    t.equal((await gw.api.put("eips/eip-14", eip(14))).status, 200);
    t.equal((await gw.api.put("fips/second", { eip: "eip-14", internalIp: "10.0.1.6" })).status, 200);
    t.equal((await gw.api.delete("fips/second")).status, 204);
    const wanted = await stateOf(gw);
    const expectWhole = async (t: Test) => {
      t.same(await stateOf(gw), wanted, "rules, addresses and routes are as they were");
      t.match((await gw.api.status()).objects, {
        eips: { ready: 5 },
        fips: { ready: 1 },
        snats: { ready: 2 },
      });
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1", seenAs: labAddresses.outside });
      t.match(await outside.ask(tcp("203.0.113.11", 8080)), { answeredBy: "pod2" });
      t.match(await pod1.ask(outsideTcp), { seenAs: "203.0.113.10" });
      t.match(await pod2.ask(outsideTcp), { seenAs: "203.0.113.13" });
      t.match(await pod2.ask({ ...outsideTcp, from: farPod }), { seenAs: "203.0.113.12" });
    };

    await t.test("kill -9, and the same namespace: not one write, not one byte lost", async (t) => {
      await expectWhole(t);
      const streams = [
        await outside.open(tcp("203.0.113.10")),
        await pod1.open(outsideTcp),
        await pod2.open(outsideTcp),
      ];
      const expectFlowing = async () => {
        for (const stream of streams) t.ok(await stream.advance(20_000), "a live flow goes on");
      };
      await expectFlowing();
      for (let time = 0; time < 2; time++) {
        const watch = await gw.watch();
        await gw.agent.kill();
        await expectFlowing();
        await gw.startAgent().whenReady();
        await gw.api.reconcile();
        t.same(await watch.stop(), [], "from the kill to the second pass nobody wrote to the kernel");
        await expectFlowing();
      }
      for (const stream of streams) t.ok((await stream.close()).isIntact, "to its end");
      await expectWhole(t);
      await gw.expectConverged(t);
    });

    await t.test("the state directory is removed while nobody writes", async (t) => {
      const { stateDirectory } = gw.agentOptions;
      await rm(stateDirectory, { recursive: true });
      await until("the journal to be written again", () => existsSync(join(stateDirectory, "state.journal")));
      await gw.agent.kill();
      await gw.startAgent().whenReady();
      await expectWhole(t);
    });

    await t.test("a new, empty namespace while the pods keep sending", async (t) => {
      const wire = new WireWatch(gw.lab);
      await wire.start();
      const senders = await sendersOf(gw);
      // Their connections end with the namespace. Packets that they send again belong to no known flow.
      const orphaned = [await pod1.open(outsideTcp), await pod2.open(outsideTcp)];
      const beginAnew = async () => {
        await gw.agent.kill();
        await wire.unplug();
        await gw.lab.renewGateway();
        t.same((await gw.byHand.read()).lines, []);
      };
      const translatedBefore = await wire.translated();
      await beginAnew();
      await gw.startAgent().whenReady();
      await expectWhole(t);
      for (const sender of senders) t.ok(await sender.advance(10, 20_000), "its own flow is answered again");

      // Killed again as soon as it writes rules, when half of everything is there.
      for (const more of [0, 2]) {
        await beginAnew();
        const callsBefore = (await gw.toolbox.calls()).length;
        gw.startAgent();
        await until("the agent to write rules", async () => {
          const calls = (await gw.toolbox.calls()).slice(callsBefore);
          return gw.byHand.hasBegun(calls, more);
        });
        await gw.agent.kill();
        await gw.startAgent().whenReady();
        await expectWhole(t);
      }
      for (const sender of senders) t.ok(await sender.advance(10, 20_000), "its own flow is answered again");
      await Promise.all([...senders, ...orphaned].map((sender) => sender.close()));
      t.same(await wire.leaks(), [], "not one packet left under a pod's own address");
      t.ok((await wire.translated()) > translatedBefore, "and the watch was not blind");
      await gw.expectConverged(t);
    });

    await t.test("flushed by hand under a running agent", async (t) => {
      const stream = await outside.open(tcp("203.0.113.10"));
      for (const { what, subsystem, strike } of harmsTo(gw)) {
        const before = await driftOf(gw, subsystem);
        const isCounted = async () => (await driftOf(gw, subsystem)) > before;
        // What changes while a pass reads and writes can look like an effect of its own writes, which is no drift.
        for (let strikes = 0; strikes < 5 && !(await isCounted()); strikes++) {
          await strike();
          await until(
            `${what} to be repaired`,
            async () => (await gw.api.plan()).changes.length === 0,
            30_000,
          );
          // The pass that repaired it ends before this one begins.
          await gw.api.reconcile();
        }
        t.ok(await isCounted(), `${what} is counted`);
        t.comment(what);
        await expectWhole(t);
        t.ok(await stream.advance(20_000), "a live flow goes on");
      }
      t.ok((await stream.close()).isIntact);
      t.ok((await gw.addresses("net1")).includes(`${labAddresses.external}/24`));
      await gw.expectConverged(t);
    });
  });
}

interface CountedHarm extends Harm {
  /** The source address that must be counted. */
  readonly subsystem: "rule" | "address" | "route" | "sysctl";
}

/** Damage by hand to a running gateway. */
function harmsTo(gw: Gateway): readonly CountedHarm[] {
  const ip = (...lines: readonly string[]) => gw.lab.ip("gw", ...lines);
  const eips = [10, 11, 12, 13, 14].map((lastByte) => `address delete ${eip(lastByte).address} dev net1`);
  const own = `address add ${labAddresses.external}/24 dev net1`;
  const sysctl = (...settings: readonly string[]) =>
    gw.lab.exec("gw", ["sysctl", "--quiet", "--write", ...settings]);
  return [
    ...gw.byHand.harms.map((harm) => ({ ...harm, subsystem: "rule" as const })),
    { what: "deleted EIPs", subsystem: "address", strike: () => ip(...eips) },
    // The flush also removes the gateway's own address, so the same command adds that again.
    { what: "flushed addresses", subsystem: "address", strike: () => ip("address flush dev net1", own) },
    { what: "a deleted default route", subsystem: "route", strike: () => ip("route delete default") },
    { what: "a deleted route", subsystem: "route", strike: () => ip("route delete 10.0.0.0/16") },
    {
      what: "another default route",
      subsystem: "route",
      strike: () => ip("route replace default via 203.0.113.99"),
    },
    {
      what: "the outside link down and up",
      subsystem: "route",
      strike: () => ip("link set net1 down", "link set net1 up"),
    },
    {
      what: "the inside link down and up",
      subsystem: "route",
      // This also removes the VPC's own route, so the same command adds that again.
      strike: () => ip("link set eth0 down", "link set eth0 up", vpcRoute),
    },
    { what: "forwarding off", subsystem: "sysctl", strike: () => sysctl("net.ipv4.ip_forward=0") },
  ];
}

/** Everything that a restart must restore. Rules keep their order, because it matters; everything else is unordered. */
async function stateOf(gw: Gateway): Promise<Readonly<Record<string, readonly string[]>>> {
  return {
    rules: (await gw.byHand.read()).lines,
    addresses: (await gw.addresses("net1")).toSorted(),
    routes: linesOf(await gw.lab.exec("gw", ["ip", "-4", "route", "show"])),
    forwarding: linesOf(await gw.lab.exec("gw", ["sysctl", "-n", "net.ipv4.ip_forward"])),
  };
}

function linesOf(text: string): readonly string[] {
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .toSorted();
}

/** Streams that never stop sending: with a FIP, through the narrow SNAT, through the wide one. */
function sendersOf(gw: Gateway): Promise<readonly HostStream[]> {
  const [pod1, pod2] = [gw.host("pod1"), gw.host("pod2")];
  return Promise.all([
    pod1.open(outsideUdp),
    pod2.open(outsideUdp),
    pod2.open({ ...outsideUdp, from: farPod }),
  ]);
}

async function driftOf(gw: Gateway, subsystem: string): Promise<number> {
  return gw.api.metric(`natgw_drift_repaired_total{subsystem="${subsystem}"}`);
}
