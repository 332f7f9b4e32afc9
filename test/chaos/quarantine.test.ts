/** One rule that the kernel refuses among five hundred: the others do not wait for it, and it says why it is not there. */
import t, { type Test } from "tap";
import { Gateway, variants } from "../support/gateway.ts";
import { until } from "../support/run.ts";
import { gateway, tcp } from "../support/targets.ts";
import { permitAll, refuse } from "./refusing-restore.ts";

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
const culprit = 277;
const poison = podOf(culprit);

async function readyOf(gw: Gateway, path: string) {
  return (await gw.api.get(path)).body.status.conditions.find(({ type }) => type === "Ready");
}

/** Neither half of the refused one is there, and both of all others are. */
async function expectOthersWhole(t: Test, gw: Gateway, present: number): Promise<void> {
  const rules = await gw.rules("nat");
  for (const chain of ["EXCLUSIVE_DNAT", "EXCLUSIVE_SNAT"])
    t.equal(rules.filter((rule) => rule.startsWith(`-A ${chain} `)).length, present, chain);
  t.equal(rules.filter((rule) => rule.includes(`${podOf(culprit)}/32`)).length, present - count + 1);
}

t.jobs = variants.length;
for (const variant of variants) {
  t.test(variant, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, variant);
    await gw.lab.ip("outside", "route add 198.18.0.0/16 dev eth0");
    await gw.lab.ip("gw", "route add 10.0.0.0/16 via 10.0.1.5 dev eth0");
    await gw.lab.ip(
      "pod1",
      `address add ${podOf(1)}/32 dev eth0`,
      `address add ${podOf(culprit)}/32 dev eth0`,
    );

    await t.test("the kernel's words are on the one, all others are Ready", async (t) => {
      await refuse(gw.toolbox, variant, poison);
      const reply = await gw.api.putSet(set, "?wait=60s");
      t.equal(reply.status, 202, "who waits is answered as soon as nothing more is to be hoped for");
      t.match(reply.body, { ready: 2 * count - 1, notReadyTotal: 1, notReady: [{ name: `fip-${culprit}` }] });
      t.match(await readyOf(gw, `fips/fip-${culprit}`), {
        status: "False",
        reason: "Quarantined",
        message: `injected refusal of ${poison}`,
      });
      await expectOthersWhole(t, gw, count - 1);
      t.match(await gw.host("outside").ask(tcp(eipOf(1))), { answeredBy: "pod1" });
      t.match((await gw.api.status()).degraded, [{ reason: "Quarantined" }]);
    });

    await t.test("others come and go meanwhile, without another trial", async (t) => {
      const trials = (await refusals(gw)).length;
      t.ok([200, 204].includes((await gw.api.delete("fips/fip-3")).status));
      t.equal((await gw.api.put("fips/fip-3", { eip: "eip-3", internalIp: podOf(3) })).status, 200);
      t.equal((await refusals(gw)).length, trials, "it waits for its time");
      await expectOthersWhole(t, gw, count - 1);
    });

    await t.test("it is tried again by itself, and becomes Ready once the cause is gone", async (t) => {
      await permitAll(gw.toolbox, variant);
      await until(
        "the refused one to be Ready",
        async () => (await readyOf(gw, `fips/fip-${culprit}`))?.status === "True",
        30_000,
      );
      await expectOthersWhole(t, gw, count);
      t.match(await gw.host("outside").ask(tcp(eipOf(culprit))), { answeredBy: "pod1" });
      t.same((await gw.api.status()).degraded, []);
      await gw.expectConverged(t);
    });

    await t.test("what is written anew is tried at once", async (t) => {
      await refuse(gw.toolbox, variant, "10.0.99.99");
      const bad = await gw.api.put("fips/fip-3", { eip: "eip-3", internalIp: "10.0.99.99" });
      t.match(bad, { status: 202 });
      t.match(await readyOf(gw, "fips/fip-3"), { reason: "Quarantined" });
      t.equal((await gw.api.put("fips/fip-3", { eip: "eip-3", internalIp: podOf(3) })).status, 200);
      t.same((await gw.api.status()).degraded, []);
      await permitAll(gw.toolbox, variant);
      await gw.expectConverged(t);
    });
  });
}

/** The log's lines of passes in which something was refused. */
async function refusals(gw: Gateway): Promise<readonly string[]> {
  return gw.agent.log.split("\n").filter((line) => line.includes("pass met refusals"));
}
