/** Which iptables variant the agent chooses with `auto`, and what it does if it must not choose. */
import t from "tap";
import { Gateway } from "../support/gateway.ts";
import { until } from "../support/run.ts";
import { eip, gateway, tcp } from "../support/targets.ts";

const auto = { NATGW_IPTABLES_VARIANT: "auto" };
const rulesOf = (eipAddress: string) => [
  "*nat",
  ":EXCLUSIVE_DNAT - [0:0]",
  `-A EXCLUSIVE_DNAT -d ${eipAddress}/32 -j DNAT --to-destination 10.0.1.5`,
  "COMMIT",
  "",
];
const set = {
  generation: 1,
  gateway,
  eips: [eip(10)],
  fips: [{ name: "one", eip: "eip-10", internalIp: "10.0.1.5" }],
};

async function degraded(gw: Gateway): Promise<readonly string[]> {
  const { body } = await gw.api.get("status");
  const { degraded: reasons } = body as unknown as { degraded: { reason: string }[] };
  return reasons.map(({ reason }) => reason);
}

t.test("takes the variant whose owned chains hold rules", async (t) => {
  const gw = await Gateway.make(t, "iptables-legacy", auto);
  await gw.restore(...rulesOf("203.0.113.10"));
  await gw.startAgent().whenLive();
  t.equal((await gw.api.putSet(set)).status, 200);
  t.match((await gw.api.get("status")).body, { backend: "iptables-legacy", degraded: [] });
  t.match(await gw.host("outside").ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
});

t.test("writes nothing while both variants hold rules, and continues when one is cleared", async (t) => {
  // iptables-legacy sends no events: the timer finds the change.
  const gw = await Gateway.make(t, "iptables-nft", { ...auto, NATGW_RESYNC_INTERVAL: "1s" });
  const legacy = (args: readonly string[], input = "") =>
    gw.lab.exec("gw", ["iptables-legacy-restore", ...args], { input });
  await gw.restore(...rulesOf("203.0.113.10"));
  await legacy(["--noflush"], rulesOf("203.0.113.11").join("\n"));
  const watch = await gw.watch();
  await gw.startAgent().whenLive();
  await until("the agent says why", async () => (await degraded(gw)).includes("MixedVariants"));
  const put = await gw.api.putSet(set, "?wait=1s");
  t.equal(put.status, 202, "stored, and not in the kernel");
  t.notOk((await gw.api.get("fips/one")).body.status.ready);
  const writes = (await watch.stop()).filter((line) => !/natgw_api|^# new generation/.test(line));
  t.same(writes, [], "nothing was written but the guard of the API");

  await legacy([], "*nat\nCOMMIT\n");
  await until("the agent goes on", async () => (await degraded(gw)).length === 0);
  t.match(await gw.host("outside").ask(tcp("203.0.113.10")), { answeredBy: "pod1" });
  await gw.expectConverged(t);
});
