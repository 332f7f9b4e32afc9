/**
 * One refused object among five hundred FIPs: the others do not wait for it, and its status has the reason. Also a
 * table that nobody may write to.
 */
import { spawn } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { type DataplaneName, dataplanes, Gateway } from "../support/gateway.ts";
import { inNamespace } from "../support/in-namespace.ts";
import { until } from "../support/run.ts";
import { eip, gateway, tcp } from "../support/targets.ts";

const count = 500;
const numbers = Array.from({ length: count }, (_, index) => index + 1);
const eipOf = (number: number) => `198.18.${number >> 8}.${number & 255}`;
const podOf = (number: number) => `10.0.${8 + (number >> 8)}.${number & 255}`;
const set = {
  generation: 1,
  gateway,
  eips: numbers.map((number) => ({ name: `eip-${number}`, address: `${eipOf(number)}/16` })),
  fips: numbers.map((number) => ({
    name: `fip-${number}`,
    eip: `eip-${number}`,
    internalIp: podOf(number),
  })),
};
const small = {
  gateway,
  eips: [eip(10)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
};
const culprit = 277;
const poison = podOf(culprit);

/** The reported error of the culprit: with nftables the kernel itself refuses, and names the element. */
const wordsOn: Readonly<Record<DataplaneName, string>> = {
  "iptables-nft": `injected refusal of ${poison}`,
  "iptables-legacy": `injected refusal of ${poison}`,
  nftables: `the kernel refused an element of map fip_in: ${eipOf(culprit)}: EINVAL`,
};

async function readyOf(gw: Gateway, path: string) {
  return (await gw.api.get(path)).body.status.conditions.find(({ type }) => type === "Ready");
}

/** Neither half of the refused FIP is there, and both halves of all others are. */
async function expectOthersWhole(t: Test, gw: Gateway, present: number): Promise<void> {
  const { inward, outward } = await gw.byHand.read();
  t.same([inward.length, outward.length], [present, present], "both halves of all");
  t.equal(outward.filter(([ip]) => ip === poison).length, present - count + 1);
}

t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, dataplane, {}, { isBreakable: true });
    await gw.lab.ip("outside", "route add 198.18.0.0/16 dev eth0");
    await gw.lab.ip("gw", "route add 10.0.0.0/16 via 10.0.1.5 dev eth0");
    await gw.lab.ip(
      "pod1",
      `address add ${podOf(1)}/32 dev eth0`,
      `address add ${podOf(culprit)}/32 dev eth0`,
    );

    await t.test("the refused object has the kernel's error text, all others are Ready", async (t) => {
      await gw.faults.refuse(poison);
      const reply = await gw.api.putSet(set, "?wait=60s");
      t.equal(reply.status, 202, "who waits is answered as soon as nothing more is to be hoped for");
      t.match(reply.body, { ready: 2 * count - 1, notReadyTotal: 1, notReady: [{ name: `fip-${culprit}` }] });
      t.match(await readyOf(gw, `fips/fip-${culprit}`), {
        status: "False",
        reason: "Quarantined",
        message: wordsOn[dataplane],
      });
      await expectOthersWhole(t, gw, count - 1);
      t.match(await gw.host("outside").ask(tcp(eipOf(1))), { answeredBy: "pod1" });
      // The guard forgets the refused object in the next pass, and then the gate opens.
      await until(
        "nothing else to be degraded",
        async () => (await gw.api.degradedReasons()).join() === "Quarantined",
      );
    });

    await t.test("other objects are added and removed in the meantime without another attempt", async (t) => {
      const trials = (await refusals(gw)).length;
      t.ok([200, 204].includes((await gw.api.delete("fips/fip-3")).status));
      t.equal((await gw.api.put("fips/fip-3", { eip: "eip-3", internalIp: podOf(3) })).status, 200);
      t.equal((await refusals(gw)).length, trials, "it waits for its time");
      await expectOthersWhole(t, gw, count - 1);
    });

    await t.test("it is retried automatically, and becomes Ready when the cause is gone", async (t) => {
      await gw.faults.mend();
      await until(
        "the refused one to be Ready",
        async () => (await readyOf(gw, `fips/fip-${culprit}`))?.status === "True",
        30_000,
      );
      await expectOthersWhole(t, gw, count);
      t.match(await gw.host("outside").ask(tcp(eipOf(culprit))), { answeredBy: "pod1" });
      t.same((await gw.api.status()).degraded, []);
      await gw.expectConverged(t);
      await until("passes to end, instead of one causing the next", async () => {
        const passes = await passesOf(gw);
        await delay(1_000);
        return (await passesOf(gw)) === passes;
      });
    });

    await t.test("a requested full pass tries it at once", async (t) => {
      const before = { eip: "eip-4", internalIp: podOf(4) };
      await gw.faults.refuse("10.0.99.98");
      t.equal((await gw.api.put("fips/fip-4", { ...before, internalIp: "10.0.99.98" })).status, 202);
      t.match(await readyOf(gw, "fips/fip-4"), { reason: "Quarantined" });
      t.equal((await gw.api.call("POST", "/v1/reconcile")).status, 200);
      t.match(await readyOf(gw, "fips/fip-4"), { reason: "Quarantined" }, "refused again");
      await gw.faults.mend();
      t.equal((await gw.api.call("POST", "/v1/reconcile")).status, 200);
      t.match(await readyOf(gw, "fips/fip-4"), { status: "True" });
      t.same((await gw.api.status()).degraded, []);
      t.equal((await gw.api.put("fips/fip-4", before)).status, 200);
    });

    await t.test("a rewritten object is tried at once", async (t) => {
      await gw.faults.refuse("10.0.99.99");
      const bad = await gw.api.put("fips/fip-3", { eip: "eip-3", internalIp: "10.0.99.99" });
      t.match(bad, { status: 202 });
      t.match(await readyOf(gw, "fips/fip-3"), { reason: "Quarantined" });
      t.equal((await gw.api.put("fips/fip-3", { eip: "eip-3", internalIp: podOf(3) })).status, 200);
      t.same((await gw.api.status()).degraded, []);
      await gw.faults.mend();
      await gw.expectConverged(t);
    });
  });
}

// Nothing is injected here: the kernel gives a table to one program, as long as that runs.
t.test("nftables: a table that belongs to another program", { buffered: true }, async (t) => {
  const gw = await Gateway.start(t, "nftables");
  t.equal((await gw.api.putSet({ ...small, generation: 1 })).status, 200);
  const stream = await gw.host("outside").open(tcp("203.0.113.10"));
  const [command = "ip", ...args] = inNamespace(gw.lab.namespaceOf("gw"), ["nft", "--interactive"]);
  const owner = spawn(command, args, { stdio: ["pipe", "ignore", "inherit"] });
  t.teardown(() => owner.kill("SIGKILL"));
  owner.stdin.write("delete table ip natgw; add table ip natgw { flags owner; }\n");
  await until("the refusal to be told", async () => {
    const { degraded } = await gw.api.status();
    return degraded.some(({ reason, message }) => reason === "StepsFailing" && /EPERM/.test(message));
  });
  t.match(await readyOf(gw, "fips/fip"), { status: "False" }, "what was lost is not Ready");
  t.ok(await stream.advance(1_000), "a live flow goes on");
  t.same(
    (await gw.api.put("fips/fip", { ...small.fips[0], internalIp: "10.0.1.6" }, "?wait=1s")).status,
    202,
  );
  t.equal((await gw.api.put("fips/fip", small.fips[0] ?? {}, "?wait=0s")).status, 202);

  owner.kill("SIGKILL");
  await until(
    "the table to be the agent's again",
    async () => (await readyOf(gw, "fips/fip"))?.status === "True",
  );
  t.match(await gw.host("outside").ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
  t.ok((await stream.close()).isIntact);
  t.same((await gw.api.status()).degraded, []);
  await gw.expectConverged(t);
});

/** Log lines of passes with a refusal. */
async function refusals(gw: Gateway): Promise<readonly string[]> {
  return gw.agent.log.split("\n").filter((line) => line.includes("pass had failures"));
}

/** How many passes there were. */
async function passesOf(gw: Gateway): Promise<number> {
  const body = await gw.api.metrics();
  return Number(/^natgw_reconcile_duration_seconds_count(?:\{.*\})? (\S+)$/m.exec(body)?.[1]);
}
