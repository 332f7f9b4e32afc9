/**
 * Crash consistency: kill -9 at random times during writes of several clients, and disks that fail.
 *
 * `NATGW_SEED` repeats the choices of a run, but not its timing. `NATGW_KILLS` sets the number of kills.
 */
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { encodeRecord } from "../../agent/store/records.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { randomFrom, seed } from "../support/random.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, gateway, outsideTcp, tcp } from "../support/targets.ts";
import { Writer } from "./writers.ts";

const kills = Number(process.env.NATGW_KILLS ?? 24);
/** With fewer kills on a very busy machine; an explicit number is always used. */
const killingMs = process.env.NATGW_KILLS === undefined ? 12_000 : 3_600_000;
/** Maximum acknowledged writes before a kill, and how long to wait for them. */
const mostWrites = 24;
const writingMs = 2_000;
const random = randomFrom(seed);
t.comment(`seed ${seed}`);

/** Last bytes: FIP `21` is on Eip `eip-21`, 203.0.113.21. */
const shares = [
  [21, 22, 23],
  [31, 32, 33],
  [41, 42, 43],
  [51, 52, 53],
].map((share) => share.map(String));
const all = shares.flat();
const base = {
  generation: 1,
  gateway,
  eips: [...all.map((name) => eip(Number(name))), eip(10), eip(11)],
  fips: [{ name: "steady", eip: "eip-10", internalIp: "10.0.1.5" }],
  snats: [{ name: "all", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
};

interface DesiredFips {
  readonly fips: readonly { readonly name: string; readonly eip: string; readonly internalIp: string }[];
}

async function desiredFips(gw: Gateway): Promise<ReadonlyMap<string, string>> {
  const { body } = await gw.api.call<DesiredFips>("GET", "/v1/desired");
  return new Map(body.fips.map(({ name, internalIp }) => [name, internalIp]));
}

/** The kernel holds exactly the desired FIPs, both halves of each, and the addresses of the EIPs. */
async function expectKernelEqual(t: Test, gw: Gateway, desired: ReadonlyMap<string, string>): Promise<void> {
  const { inward, outward } = await gw.byHand.read();
  const addressOf = (name: string) => eipAddress(Number(name === "steady" ? 10 : name));
  const pairs = Array.from(desired, ([name, ip]) => `${addressOf(name)} ${ip}`).toSorted();
  t.same(inward.map(([eip, ip]) => `${eip} ${ip}`).toSorted(), pairs, "inward halves");
  t.same(outward.map(([ip, eip]) => `${eip} ${ip}`).toSorted(), pairs, "outward halves");
  t.same(
    (await gw.addresses("net1")).toSorted(),
    ["203.0.113.254/24", ...base.eips.map(({ address }) => address)].toSorted(),
    "addresses",
  );
}

interface Inventory {
  readonly addresses: readonly { readonly ip: string; readonly role: string }[];
}

async function ipsOfRole(gw: Gateway, role: string): Promise<readonly string[]> {
  const { body } = await gw.api.call<Inventory>("GET", "/v1/inventory");
  return body.addresses.filter((address) => address.role === role).map(({ ip }) => ip);
}

async function expectTraffic(t: Test, gw: Gateway): Promise<void> {
  t.match(await gw.host("outside").ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
  t.match(await gw.host("pod2").ask(outsideTcp), { seenAs: "203.0.113.11" });
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    await t.test("kill -9 during writes of several clients", async (t) => {
      const gw = await Gateway.start(t, dataplane);
      t.equal((await gw.api.putSet(base)).status, 200);
      const stream = await gw.host("outside").open(tcp("203.0.113.10"));
      const writers = shares.map((names) => new Writer(names, random));
      const acknowledged = () => writers.reduce((sum, writer) => sum + writer.acknowledged, 0);
      const endOfKillsMs = performance.now() + killingMs;
      let round = 0;
      let cutOff = 0;
      const isTime = () => performance.now() < endOfKillsMs || acknowledged() === 0;
      for (; round < kills / dataplanes.length && isTime(); round++) {
        const writing = Promise.all(writers.map((writer) => writer.run(gw.api)));
        const goal = acknowledged() + Math.floor(random() * mostWrites);
        const endMs = performance.now() + writingMs;
        await until("some writes", () => acknowledged() >= goal || performance.now() > endMs);
        await delay(random() * 20);
        await gw.agent.kill();
        await writing;
        await gw.startAgent().whenReady();

        const found = await desiredFips(gw);
        for (const writer of writers) {
          for (const [name, either] of writer.expectations) {
            if (either.length > 1) cutOff += 1;
            if (!either.includes(found.get(name)))
              t.fail(`fips/${name} is ${found.get(name)}, acknowledged or cut off: ${either.join(" or ")}`);
            writer.settle(name, found.get(name));
          }
        }
        await expectKernelEqual(t, gw, found);
        t.same(await ipsOfRole(gw, "orphan"), [], "the ledger names every address");
        t.ok(await stream.advance(5_000), "what no one touched goes on");
      }
      t.comment(`${dataplane}: ${round} kills, ${acknowledged()} acknowledged, ${cutOff} cut off`);
      t.ok(acknowledged() > 0, "writes were made");
      t.ok((await stream.close()).isIntact);
      await gw.expectConverged(t);

      t.equal((await gw.api.putSet({ generation: 2 })).status, 200);
      await expectKernelEmpty(t, gw);
    });

    await t.test("a disk that is full", async (t) => {
      const gw = await Gateway.make(t, dataplane);
      const agent = await gw.startAgentOn("small").whenReady();
      t.equal((await gw.api.putSet(base)).status, 200);
      const stream = await gw.host("pod2").open(outsideTcp);
      const filler = join(`/proc/${agent.pid}/root`, gw.agentOptions.stateDirectory, "filler");
      await writeFile(filler, Buffer.alloc(1 << 20)).catch((error: Error & { code?: string }) => {
        if (error.code !== "ENOSPC") throw error;
      });
      // The journal's last page has room for a few more.
      for (let n = 0; n < 100; n++) {
        const { status } = await gw.api.put(
          "fips/21",
          { eip: "eip-21", internalIp: `10.0.1.${n + 100}` },
          "",
        );
        if (status === 503) break;
      }
      await expectRefusedAndWhole(t, gw);
      t.ok(await stream.advance(5_000), "live flows go on");
      await rm(filler);
      await expectWellAgain(t, gw);
      t.ok((await stream.close()).isIntact);
    });

    await t.test("a disk that is read-only", async (t) => {
      const gw = await Gateway.start(t, dataplane);
      t.equal((await gw.api.putSet(base)).status, 200);
      const stream = await gw.host("pod2").open(outsideTcp);
      await gw.agent.kill();
      const watch = await gw.watch();
      await gw.startAgentOn("read-only").whenReady();
      t.same(await watch.stop(), [], "a start writes nothing to the kernel");
      await expectRefusedAndWhole(t, gw);
      t.ok(await stream.advance(5_000), "live flows go on");
      await gw.agent.stop();
      await gw.startAgent().whenReady();
      await expectWellAgain(t, gw);
      t.ok((await stream.close()).isIntact);
    });

    await t.test("a state that is damaged", async (t) => {
      const gw = await Gateway.start(t, dataplane);
      t.equal((await gw.api.putSet(base)).status, 200);
      t.equal((await gw.api.put("fips/21", { eip: "eip-21", internalIp: "10.0.1.21" })).status, 200);
      const stream = await gw.host("outside").open(tcp("203.0.113.10"));
      const journal = join(gw.agentOptions.stateDirectory, "state.journal");
      const spare = join(gw.agentOptions.stateDirectory, "..", "spare");
      await gw.agent.stop();
      await copyFile(journal, spare);
      const whole = await readFile(spare);
      const flip = Math.floor(random() * whole.length);
      const toCome = encodeRecord({ format: 1_000, seq: 1, snapshot: {} });
      const damages: readonly (readonly [what: string, bytes: Buffer, reason: string])[] = [
        [`bit ${flip} of ${whole.length} flipped`, flipped(whole, flip), "StateCorrupt"],
        ...(dataplane === "nftables" ? [["of a format to come", toCome, "StateTooNew"] as const] : []),
        ["cut off within its snapshot", whole.subarray(0, 40), "StateCorrupt"],
        ["empty", Buffer.alloc(0), "StateCorrupt"],
      ];
      for (const [index, [what, bytes, reason]] of damages.entries()) {
        await writeFile(journal, bytes);
        const watch = await gw.watch();
        await gw.startAgent().whenLive();
        await gw.api.reconcile();
        t.same(await watch.stop(), [], `${what}: nothing is torn down`);
        t.same((await gw.api.degradedReasons()).toSorted(), ["NotAdopted", reason], what);
        const refused = await gw.api.put("eips/eip-60", eip(60), "");
        t.match(refused, { status: 409, body: { code: "not-adopted" } });
        await expectTraffic(t, gw);
        t.ok(await stream.advance(5_000), "live flows go on");
        if (reason === "StateTooNew") {
          t.match(await gw.api.putSet({ ...base, generation: 2 }), { status: 503 });
          t.same(await readFile(journal), bytes, "what a newer version wrote is left alone");
        }
        if (index < damages.length - 1) await gw.agent.kill();
      }
      t.equal((await gw.api.putSet({ ...base, generation: 2 })).status, 200, "a full set takes over");
      t.same(await gw.api.degradedReasons(), []);
      t.ok((await stream.close()).isIntact);
      await expectKernelEqual(t, gw, new Map([["steady", "10.0.1.5"]]));

      await rm(gw.agentOptions.stateDirectory, { recursive: true });
      t.equal((await gw.api.put("fips/22", { eip: "eip-22", internalIp: "10.0.1.22" })).status, 200);
      await gw.agent.kill();
      await gw.startAgent().whenReady();
      t.same(
        await desiredFips(gw),
        new Map([
          ["steady", "10.0.1.5"],
          ["22", "10.0.1.22"],
        ]),
        "a removed state is written again",
      );
      await gw.expectConverged(t);
    });
  });
}

/** A write gets 503 and leaves nothing; damage by other programs is repaired all the same. */
async function expectRefusedAndWhole(t: Test, gw: Gateway): Promise<void> {
  const before = await desiredFips(gw);
  const refused = await gw.api.put("fips/31", { eip: "eip-31", internalIp: "10.0.1.31" }, "");
  t.match(refused, { status: 503, body: { code: "storage-unavailable" } }, "a write is refused");
  // The audit log is on that disk too, and is written after the answer.
  const reasons = (await gw.api.degradedReasons()).filter((reason) => reason !== "AuditLogFailing");
  t.same(reasons, ["StorageUnavailable"]);
  t.same(await desiredFips(gw), before, "and leaves nothing");
  await gw.byHand.flush();
  await gw.lab.ip("gw", "address delete 203.0.113.10/24 dev net1");
  await gw.api.reconcile();
  await until("the repair", async () => (await gw.api.plan()).changes.length === 0);
  await expectTraffic(t, gw);
}

/** Writes are accepted again automatically. */
async function expectWellAgain(t: Test, gw: Gateway): Promise<void> {
  t.equal((await gw.api.put("fips/31", { eip: "eip-31", internalIp: "10.0.1.31" })).status, 200);
  await until("nothing to be degraded", async () => (await gw.api.degradedReasons()).length === 0);
  await expectTraffic(t, gw);
  await gw.expectConverged(t);
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
  return copy;
}

/** Nothing of any object is left, and no gate. */
async function expectKernelEmpty(t: Test, gw: Gateway): Promise<void> {
  t.same(
    (await gw.translations()).filter((rule) => rule.includes("203.0.113.")),
    [],
    "no rule is left",
  );
  t.same(await gw.addresses("net1"), ["203.0.113.254/24"], "no address is left");
  t.same(await ipsOfRole(gw, "orphan"), []);
  t.notMatch(await gw.lab.exec("gw", ["nft", "list", "tables"]), "natgw_gate", "no gate is left");
  await gw.expectConverged(t);
}
