/**
 * Kernel tools that fail: a lock that is held, a tool that hangs, refuses without words, warns, or is cut short. What
 * cannot be read is never taken for empty, and what works goes on working.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Gateway, variants } from "../support/gateway.ts";
import type { HostStream } from "../support/host.ts";
import { pidsIn } from "../support/namespaces.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";
import { isRuleWriter, type Tool } from "../support/toolbox.ts";

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

for (const variant of variants) {
  t.test(variant, async (t) => {
    const [saveTool, restoreTool]: readonly Tool[] = [`${variant}-save`, `${variant}-restore`];
    const lockFile = join("/tmp", `natgwt-${process.pid}-lock-${variant}`);
    // The legacy tools of this agent take another lock than the machine's.
    const gw = await Gateway.start(t, variant, { XTABLES_LOCKFILE: lockFile, NATGW_RESYNC_INTERVAL: "10m" });
    const { toolbox } = gw;
    t.equal((await gw.api.putSet({ ...set, eips: [...set.eips, eip(13)] })).status, 200);
    const streams = [
      await gw.host("outside").open(tcp("203.0.113.12")),
      await gw.host("outside").open(tcp("203.0.113.10")),
      await gw.host("pod2").open(outsideTcp),
    ];

    /** Adds and takes away a FIP: a write that needs the tools, and must be done in the end. */
    const write = async (t: Test) => {
      t.equal((await gw.api.put("fips/extra", extra)).status, 200, "a write gets through");
      t.ok([200, 204].includes((await gw.api.delete("fips/extra")).status));
    };
    const expectWhole = async (t: Test) => {
      await expectFlowing(t, streams);
      t.match(await gw.host("outside").ask(tcp("203.0.113.12")), { answeredBy: "pod1" });
      await gw.expectConverged(t);
      t.same((await gw.api.status()).degraded, []);
    };
    const breakWith = (tool: Tool, script: string) =>
      writeFile(join(toolbox.directory, `${tool}.fault`), `${script}\n`);

    await t.test("the lock is held for longer than a restore waits", async (t) => {
      const holder = spawn("flock", [lockFile, "sleep", "60"], { stdio: "ignore", detached: true });
      t.teardown(() => killGroup(holder));
      await once(holder, "spawn");
      await until("the lock to be held", async () =>
        (await readFile("/proc/locks", "utf8")).includes(` ${holder.pid} `),
      );
      const reply = await gw.api.put("fips/extra", extra, "?wait=6s");
      // iptables-nft needs no lock: the kernel's transactions are its lock.
      t.equal(reply.status, variant === "iptables-legacy" ? 202 : 200);
      t.match(await gw.api.status(), { gate: "open" }, "the API answers meanwhile");
      await expectFlowing(t, streams);
      killGroup(holder);
      await until(
        "the write to be done",
        async () => (await gw.api.get("fips/extra")).body.status.ready,
        30_000,
      );
      t.ok([200, 204].includes((await gw.api.delete("fips/extra")).status));
      await expectWhole(t);
    });

    await t.test("a restore that hangs holds up neither the API nor traffic, and is got over", async (t) => {
      await toolbox.break(restoreTool ?? "nft", "hangs", 1);
      const reply = await gw.api.put("fips/extra", extra, "?wait=500ms");
      t.equal(reply.status, 202);
      await expectFlowing(t, streams);
      t.equal((await gw.api.put("fips/extra", extra, "")).status, 202, "writes are stored meanwhile");
      // Its deadline is a minute; here it is killed sooner.
      for (const pid of await hanging(gw)) process.kill(pid, "SIGKILL");
      await until(
        "the write to be done",
        async () => (await gw.api.get("fips/extra")).body.status.ready,
        30_000,
      );
      t.ok([200, 204].includes((await gw.api.delete("fips/extra")).status));
      await expectWhole(t);
    });

    await t.test("a restore that exits with 4 and no word, and one that dies", async (t) => {
      await breakWith(restoreTool ?? "nft", failing(2, "exit 4"));
      await write(t);
      await toolbox.break(restoreTool ?? "nft", "dies", 2);
      await write(t);
      await toolbox.break(restoreTool ?? "nft", "failsAfterwards", 1);
      await write(t);
      await toolbox.mend(restoreTool ?? "nft");
      await expectWhole(t);
    });

    await t.test("warnings are no errors", async (t) => {
      for (const tool of [saveTool, restoreTool, "nft"] as const) await toolbox.break(tool ?? "nft", "warns");
      const reply = await gw.api.put("fips/extra", extra);
      t.equal(reply.status, 200);
      t.ok([200, 204].includes((await gw.api.delete("fips/extra")).status));
      for (const tool of [saveTool, restoreTool, "nft"] as const) await toolbox.mend(tool ?? "nft");
      await expectWhole(t);
    });

    // A ruleset that is known to be at rest is not read: moves the generation of nf_tables, or what legacy's tables hold.
    const stirring =
      variant === "iptables-legacy"
        ? ["iptables-legacy", "--wait", "-t", "mangle", "-A", "OUTPUT"]
        : ["nft", "add table ip stirred; delete table ip stirred"];
    const stir = () => gw.lab.exec("gw", stirring);

    await t.test("a reading that is cut short writes nothing, whatever it exits with", async (t) => {
      const before = await gw.rules("nat");
      const { length } = await gw.lab.exec("gw", [`${variant}-save`]);
      for (const [part, exitCode] of [
        [0.1, 0],
        [0.35, 0],
        [0.6, 1],
        [0.9, 0],
      ] as const) {
        await breakWith(
          saveTool ?? "nft",
          `"$real" "$@" | head -c ${Math.floor(length * part)}; exit ${exitCode}`,
        );
        const calls = (await toolbox.calls()).length;
        await stir();
        const { status } = await gw.api.call("POST", "/v1/reconcile");
        t.equal(status, 500, `${part} of it, exit ${exitCode}: no pass can be made`);
        t.same((await toolbox.calls()).slice(calls).filter(isRuleWriter), [], "and no writing tool ran");
        t.match((await gw.api.status()).degraded, [{ reason: "PassFailing" }]);
      }
      t.same(await gw.rules("nat"), before);
      await expectFlowing(t, streams);
      await toolbox.mend(saveTool ?? "nft");
      await gw.api.reconcile();
      await expectWhole(t);
    });

    await t.test("a reading that is empty removes nothing that works", async (t) => {
      const before = (await gw.rules("nat")).toSorted();
      await toolbox.break(saveTool ?? "nft", "fallsSilent", 1);
      await stir();
      await gw.api.call("POST", "/v1/reconcile");
      await until("the rules as before", async () => (await gw.api.plan()).changes.length === 0);
      await toolbox.mend(saveTool ?? "nft");
      t.same((await gw.rules("nat")).toSorted(), before);
      await expectWhole(t);
    });

    if (variant === "iptables-nft") {
      await t.test("guard and gate that cannot be read are not taken for absent", async (t) => {
        for (const fault of ["fails", "truncates", "fallsSilent", "dies"] as const) {
          await toolbox.break("nft", fault);
          const calls = (await toolbox.calls()).length;
          await stir();
          t.equal((await gw.api.call("POST", "/v1/reconcile")).status, 500, fault);
          const made = (await toolbox.calls()).slice(calls);
          t.same(
            made.filter((call) => isRuleWriter(call) || call.args.startsWith("-f")),
            [],
          );
        }
        await toolbox.mend("nft");
        await gw.api.reconcile();
        await expectWhole(t);
      });
    }
    for (const stream of streams) t.ok((await stream.close()).isIntact);
  });
}

async function expectFlowing(t: Test, streams: readonly HostStream[]): Promise<void> {
  for (const stream of streams) t.ok(await stream.advance(5_000), "live flows go on");
}

/** Goes wrong `times` times and works then. */
function failing(times: number, how: string): string {
  return `
left=$(cat "$here/$tool.left" 2>/dev/null || echo ${times})
[ "$left" -gt 0 ] || exec "$real" "$@"
echo $((left - 1)) >"$here/$tool.left"
${how}`;
}

/** The pids of the stand-ins in the gateway that sleep instead of working. */
async function hanging(gw: Gateway): Promise<readonly number[]> {
  return until("a tool that hangs", async () => {
    const found: number[] = [];
    for (const pid of await pidsIn(gw.lab.namespaceOf("gw"))) {
      const argv = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
      if (argv[0] === "sleep") found.push(pid);
    }
    return found.length > 0 && found;
  });
}

function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, "SIGKILL");
}
