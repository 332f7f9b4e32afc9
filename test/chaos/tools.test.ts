/**
 * Tools and sockets that fail: a lock that is held, a write that hangs, fails silently or is truncated, a reading that
 * ends early. What cannot be read never counts as empty, and working NAT keeps working.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { type DataplaneName, dataplanes, Gateway } from "../support/gateway.ts";
import type { HostStream } from "../support/host.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";
import type { Tool } from "../support/toolbox.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-12", internalIp: "10.0.1.5" }],
  snats: [{ name: "all", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
  dnats: [
    {
      name: "web",
      eip: "eip-10",
      protocol: "tcp",
      externalPort: 80,
      internalIp: "10.0.1.6",
      internalPort: 81,
    },
  ],
};
const extra = { eip: "eip-13", internalIp: "10.0.1.6" };

/** The tools that the dataplanes run. */
const toolsOf: Readonly<Record<DataplaneName, readonly Tool[]>> = {
  "iptables-nft": ["iptables-nft-save", "iptables-nft-restore", "nft"],
  "iptables-legacy": ["iptables-legacy-save", "iptables-legacy-restore"],
  nftables: ["nft"],
};
/** How long another program holds the lock of iptables: longer than several waits of the agent's tools. */
const lockHeldMs = 20_000;
/** Less than the time limit of a pass for writing rules. */
const withoutRulesMs = 8_000;

t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const settings = { NATGW_RESYNC_INTERVAL: "10m" };
    const gw = await Gateway.make(t, dataplane, settings, { isBreakable: true });
    // The legacy tools of this agent use a lock file of their own, not the machine's.
    const lockFile = join(gw.agentOptions.stateDirectory, "..", "xtables.lock");
    await gw.startAgent({ XTABLES_LOCKFILE: lockFile }).whenReady();
    const { toolbox, faults } = gw;
    t.equal((await gw.api.putSet({ ...set, eips: [...set.eips, eip(13)] })).status, 200);
    const streams = [
      await gw.host("outside").open(tcp("203.0.113.12")),
      await gw.host("outside").open(tcp("203.0.113.10")),
      await gw.host("pod2").open(outsideTcp),
    ];

    /** Adds a FIP, changes its target and removes it: writes that must succeed in the end. */
    const write = async (t: Test) => {
      for (const fip of [extra, { ...extra, internalIp: "10.0.1.9" }])
        t.equal((await gw.api.put("fips/extra", fip, "?wait=60s")).status, 200, "a write gets through");
      t.ok([200, 204].includes((await gw.api.delete("fips/extra", "?wait=60s")).status));
    };
    const expectDone = async (t: Test) => {
      await until(
        "the write to be done",
        async () => (await gw.api.get("fips/extra")).body.status.ready,
        30_000,
      );
      t.ok([200, 204].includes((await gw.api.delete("fips/extra")).status));
      await expectWhole(t);
    };
    const expectWhole = async (t: Test) => {
      await expectFlowing(t, streams);
      t.match(await gw.host("outside").ask(tcp("203.0.113.12")), { answeredBy: "pod1" });
      await gw.expectConverged(t);
      t.same((await gw.api.status()).degraded, []);
    };

    if (dataplane !== "nftables") {
      await t.test("the lock is held for a long time", async (t) => {
        const holder = spawn("flock", [lockFile, "sleep", "60"], { stdio: "ignore", detached: true });
        t.teardown(() => killGroup(holder));
        await once(holder, "spawn");
        await until("the lock to be held", async () =>
          (await readFile("/proc/locks", "utf8")).includes(` ${holder.pid} `),
        );
        const heldUntilMs = performance.now() + lockHeldMs;
        const reply = await gw.api.put("fips/extra", extra, "?wait=6s");
        // iptables-nft needs no lock: the kernel's transactions are its lock.
        t.equal(reply.status, dataplane === "iptables-legacy" ? 202 : 200);
        await gw.lab.ip("gw", "address delete 203.0.113.13/24 dev net1", "route delete default");
        await until(
          "what needs no rule to come back",
          async () => {
            const routes = await gw.lab.exec("gw", ["ip", "-4", "route", "show", "default"]);
            return routes !== "" && (await gw.addresses("net1")).includes("203.0.113.13/24");
          },
          withoutRulesMs,
        );
        if (reply.status === 202)
          t.match((await gw.api.status()).degraded, [{ reason: "StepsFailing", message: /xtables lock/ }]);
        while (reply.status === 202 && performance.now() < heldUntilMs) {
          t.match(await gw.api.status(), { gate: "open" }, "the API answers meanwhile");
          await expectFlowing(t, streams);
          await delay(1_000);
        }
        killGroup(holder);
        await expectDone(t);
      });
    }

    await t.test(
      "a write that hangs blocks neither the API nor traffic, and the agent recovers",
      async (t) => {
        await faults.break("hangs", 1);
        const reply = await gw.api.put("fips/extra", extra, "?wait=500ms");
        t.equal(reply.status, 202);
        await expectFlowing(t, streams);
        t.equal((await gw.api.put("fips/extra", extra, "")).status, 202, "writes are stored meanwhile");
        await faults.letGo();
        await expectDone(t);
      },
    );

    await t.test(
      "a write that fails silently, is killed, does nothing, or reports failure after success",
      async (t) => {
        for (const [fault, times] of [
          ["failsWithoutWords", 2],
          ["dies", 2],
          ["fails", 1],
          ["fallsSilent", 1],
          ["failsAfterwards", 1],
        ] as const) {
          const attempts = await faults.attempts();
          await faults.break(fault, times);
          await write(t);
          t.ok((await faults.attempts()) > attempts + times, `${fault}: it was tried again`);
        }
        await faults.mend();
        await expectWhole(t);
      },
    );

    await t.test("lost rules that cannot be restored are not Ready", async (t) => {
      await faults.break("fails");
      await gw.byHand.flush();
      t.equal((await gw.api.call("POST", "/v1/reconcile")).status, 200);
      const ready = async () => {
        const { fips, snats, dnats } = (await gw.api.status()).objects;
        return [fips?.ready, snats?.ready, dnats?.ready];
      };
      t.same(await ready(), [0, 0, 1], "what stands is");
      await faults.mend();
      await gw.api.reconcile();
      t.same(await ready(), [1, 1, 1]);
      await expectWhole(t);
    });

    await t.test("warnings are no errors", async (t) => {
      for (const tool of toolsOf[dataplane]) await toolbox.break(tool, "warns");
      await write(t);
      for (const tool of toolsOf[dataplane]) await toolbox.mend(tool);
      await expectWhole(t);
    });

    /** No rule is written, and traffic continues. */
    const expectUnread = async (t: Test, what: string) => {
      await gw.byHand.stir();
      const watch = await gw.watch();
      t.equal(
        (await gw.api.call("POST", "/v1/reconcile")).status,
        200,
        `${what}: the pass runs all the same`,
      );
      t.same(await watch.stop(), [], "nothing is written");
      const reasons = await gw.api.degradedReasons();
      t.ok(reasons.includes("KernelUnreadable"), `degraded says so: ${reasons}`);
    };

    await t.test("after a truncated reading nothing is written, even if it reports success", async (t) => {
      for (const { what, strike } of faults.readings) {
        await strike();
        await expectUnread(t, what);
      }
      await expectFlowing(t, streams);
      await faults.mend();
      await gw.api.reconcile();
      await expectWhole(t);
    });

    if (dataplane !== "nftables") {
      await t.test("an empty reading removes no working rule", async (t) => {
        const before = (await gw.translations()).toSorted();
        await toolbox.break(`${dataplane}-save`, "fallsSilent", 1);
        await gw.byHand.stir();
        await gw.api.call("POST", "/v1/reconcile");
        await until("the rules as before", async () => (await gw.api.plan()).changes.length === 0);
        await toolbox.mend(`${dataplane}-save`);
        t.same((await gw.translations()).toSorted(), before);
        await expectWhole(t);
      });
    }

    if (dataplane !== "iptables-legacy") {
      await t.test(
        "guard and gate need no nft: with a broken one nothing is written or degraded",
        async (t) => {
          for (const fault of ["fails", "truncates", "fallsSilent", "dies"] as const) {
            await toolbox.break("nft", fault);
            await gw.byHand.stir();
            const watch = await gw.watch();
            t.equal((await gw.api.call("POST", "/v1/reconcile")).status, 200, `${fault}: the pass runs`);
            t.same(await watch.stop(), [], "nothing is written");
            t.same((await gw.api.status()).degraded, []);
          }
          await toolbox.mend("nft");
          await gw.api.reconcile();
          await expectWhole(t);
        },
      );
    }
    for (const stream of streams) t.ok((await stream.close()).isIntact);
  });
}

async function expectFlowing(t: Test, streams: readonly HostStream[]): Promise<void> {
  for (const stream of streams) t.ok(await stream.advance(5_000), "live flows go on");
}

function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, "SIGKILL");
}
