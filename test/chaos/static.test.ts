/** Fail static: nothing is removed when the agent is stopped or killed, or when the controller is silent. */
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { pidsIn } from "../support/namespaces.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12), eip(13)],
  fips: [{ name: "fip", eip: "eip-12", internalIp: "10.0.1.5" }],
  snats: [{ name: "all", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
};
const late = { eip: "eip-13", internalIp: "10.0.1.6" };

t.jobs = dataplanes.length;
for (const dataplane of dataplanes) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.start(t, dataplane, { NATGW_RESYNC_INTERVAL: "1s" }, { isBreakable: true });
    t.equal((await gw.api.putSet(set)).status, 200);
    const streams = [
      await gw.host("outside").open(tcp("203.0.113.12")),
      await gw.host("pod2").open(outsideTcp),
    ];
    const expectTraffic = async (t: Test) => {
      for (const stream of streams) t.ok(await stream.advance(5_000), "live flows go on");
      t.match(await gw.host("outside").ask(tcp("203.0.113.12")), { answeredBy: "pod1" }, "new ones begin");
    };
    const agentProcesses = () => pidsIn(gw.lab.namespaceOf("gw"));

    await t.test("without requests from a controller no pass changes anything", async (t) => {
      const watch = await gw.watch();
      const seen = new Set<string | undefined>();
      await until("three passes of the timer", async () => {
        const { body } = await gw.api.call<{ lastReconcile?: { startedAt: string } }>("GET", "/v1/status");
        return seen.add(body.lastReconcile?.startedAt).size > 3;
      });
      t.same(await watch.stop(), []);
      await expectTraffic(t);
    });

    await t.test("SIGTERM in the middle of a transaction", async (t) => {
      const before = await gw.translations();
      const attempts = await gw.faults.attempts();
      await gw.faults.break("dawdles");
      const waiters = Promise.all([
        gw.api.put("fips/late", late),
        gw.api.call("POST", "/v1/batch?wait=20s", { upsert: { fips: [{ name: "late", ...late }] } }),
      ]);
      await until("the transaction to begin", async () => (await gw.faults.attempts()) > attempts);
      process.kill(gw.agent.pid, "SIGTERM");
      for (const { status } of await waiters) t.equal(status, 202, "who waits is answered");
      t.equal(await gw.agent.whenEnded(), 0);
      await gw.faults.mend();
      const after = await gw.translations();
      t.same(
        before.filter((rule) => !after.includes(rule)),
        [],
        "nothing was taken away",
      );
      const halves = after.filter((rule) => rule.includes("10.0.1.6")).length;
      t.equal(halves, 2, "the transaction in hand was finished");
      t.same(await agentProcesses(), [], "no child is left behind");
      await expectTraffic(t);
      await gw.startAgent().whenReady();
      t.ok((await gw.api.get("fips/late")).body.status.ready, "what was answered with 202 is there");
      t.ok([200, 204].includes((await gw.api.delete("fips/late")).status));
    });

    await t.test("a dead agent", async (t) => {
      const own = await agentProcesses();
      const watch = await gw.watch();
      await gw.agent.kill();
      await until("its children to end with it", async () =>
        (await agentProcesses()).every((pid) => !own.includes(pid)),
      );
      await expectTraffic(t);
      t.match(await gw.host("pod2").ask(outsideTcp), { seenAs: "203.0.113.11" });
      t.same(await watch.stop(), [], "dying writes nothing");
      await gw.startAgent().whenReady();
      await gw.expectConverged(t);
    });
    for (const stream of streams) t.ok((await stream.close()).isIntact);
  });
}
