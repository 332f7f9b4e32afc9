/** The agent starts, stops and is killed; addresses are added and removed; the namespace is recreated. */
import { existsSync } from "node:fs";
import t from "tap";
import { AgentProcess } from "../support/agent-process.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { labAddresses } from "../support/lab.ts";
import { until } from "../support/run.ts";
import { eip, gateway, outsideTcp, tcp } from "../support/targets.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-12", internalIp: "10.0.1.5" }],
  snats: [{ name: "all", eip: "eip-11", internalCIDR: "10.0.1.0/24" }],
};

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];
    t.equal((await gw.api.putSet(set)).status, 200);
    const streams = [
      await outside.open(tcp("203.0.113.12")),
      await pod1.open(outsideTcp),
      await pod2.open(outsideTcp),
    ];
    const expectFlowing = async () => {
      for (const stream of streams) t.ok(await stream.advance(20_000), "a live flow goes on");
    };
    await expectFlowing();

    await t.test(
      "deleting the first EIP keeps the others, the gateway's own and the default route",
      async (t) => {
        t.equal((await gw.api.delete("eips/eip-10")).status, 204);
        t.same(await gw.addresses("net1"), ["203.0.113.254/24", "203.0.113.11/24", "203.0.113.12/24"]);
        t.match(
          await gw.lab.exec("gw", ["ip", "route", "show", "default"]),
          /^default via 203\.0\.113\.1 dev net1/,
        );
        await expectFlowing();
        await gw.expectConverged(t);
      },
    );

    await t.test("deleting the first EIP of a subnet of its own keeps that subnet's others", async (t) => {
      const others = [1, 2, 3].map((number) => ({
        name: `other-${number}`,
        address: `198.51.100.${number}/24`,
      }));
      const reply = await gw.api.call("POST", "/v1/batch?wait=20s", { upsert: { eips: others } });
      t.equal(reply.status, 200);
      const watch = await gw.watch();
      t.equal((await gw.api.delete("eips/other-1")).status, 204);
      const writes = await watch.stop();
      t.notOk((await gw.addresses("net1")).includes("198.51.100.1/24"));
      t.ok((await gw.addresses("net1")).includes("198.51.100.2/24"));
      t.ok((await gw.addresses("net1")).includes("198.51.100.3/24"));
      // An address that was removed and added again belongs to nobody: it is not kept.
      t.same(
        writes.filter((line) => /^Deleted .* inet 198\.51\.100\.[23]\//.test(line)),
        [],
      );
      await gw.api.call("POST", "/v1/batch?wait=20s", { delete: { eips: ["other-2", "other-3"] } });
      await expectFlowing();
      await gw.expectConverged(t);
    });

    await t.test("SIGTERM leaves the dataplane and takes the socket", async (t) => {
      const rules = await gw.translations();
      const watch = await gw.watch();
      t.equal(await gw.agent.stop(), 0);
      t.same(await watch.stop(), [], "going writes nothing");
      t.notOk(existsSync(gw.agentOptions.socketPath));
      t.same(await gw.translations(), rules);
      await expectFlowing();
      t.match(await outside.ask(tcp("203.0.113.12")), { answeredBy: "pod1" });
    });

    await t.test("starting on a converged gateway writes nothing", async (t) => {
      const watch = await gw.watch();
      await gw.startAgent().whenReady();
      t.same(await watch.stop(), []);
      t.match((await gw.api.get("fips/fip")).body, { status: { ready: true } });
      await expectFlowing();
    });

    await t.test("kill -9 and a start write nothing, and all is Ready again in the same epoch", async (t) => {
      const { epoch } = await gw.api.status();
      await gw.agent.kill();
      await expectFlowing();
      const watch = await gw.watch();
      await gw.startAgent().whenReady();
      t.same(await watch.stop(), []);
      const status = await gw.api.status();
      t.equal(status.epoch, epoch);
      t.same(status.degraded, []);
      t.match(status.objects, { eips: { total: 2, ready: 2 }, fips: { total: 1, ready: 1 } });
      await expectFlowing();
      await gw.expectConverged(t);
    });

    await t.test("changes during downtime are repaired by the next start", async (t) => {
      await gw.agent.kill();
      await gw.byHand.flush();
      await gw.lab.ip("gw", "address delete 203.0.113.12/24 dev net1");
      await gw.startAgent().whenReady();
      t.match(await outside.ask(tcp("203.0.113.12")), { answeredBy: "pod1" });
      t.match(await pod2.ask(outsideTcp), { seenAs: "203.0.113.11" });
      await gw.expectConverged(t);
    });

    await t.test("a second agent in the namespace ends with one clear line", async (t) => {
      const { socketPath, ...options } = gw.agentOptions;
      const second = AgentProcess.start(gw.lab, {
        ...options,
        stateDirectory: `${options.stateDirectory}-2`,
        socketPath: `${socketPath}.2`,
      });
      t.not(await second.whenEnded(), 0);
      t.match(second.log, /already|another agent/i);
      t.notMatch(second.log, /\n\s+at /, "without a stack trace");
      await second.kill();
      await gw.expectConverged(t);
    });

    for (const stream of streams) await stream.close();

    await t.test("a new namespace is programmed from the state directory", async (t) => {
      const { epoch } = await gw.api.status();
      const rules = await gw.translations();
      await gw.lab.renewGateway();
      await gw.agent.kill();
      t.same(await gw.translations(), []);
      await gw.startAgent().whenReady();
      const status = await gw.api.status();
      t.not(status.epoch, epoch, "a new namespace is a new epoch");
      t.match(status.objects, { eips: { total: 2, ready: 2 }, snats: { total: 1, ready: 1 } });
      t.same((await gw.translations()).toSorted(), rules.toSorted());
      t.match(await outside.ask(tcp("203.0.113.12")), { answeredBy: "pod1", seenAs: labAddresses.outside });
      t.match(await pod2.ask(outsideTcp), { seenAs: "203.0.113.11" });
      await gw.expectConverged(t);
    });

    await t.test("an address held by another host is not added", async (t) => {
      await gw.agent.stop();
      await gw.lab.ip("outside", "address add 203.0.113.66/24 dev eth0");
      await gw.startAgent({ NATGW_ARP_PROBE: "200ms" }).whenReady();
      const reply = await gw.api.put("eips/eip-66", { address: "203.0.113.66/24" });
      t.equal(reply.status, 202, "it cannot become Ready by waiting");
      t.match(
        reply.body.status.conditions.find(({ type }) => type === "Ready"),
        { status: "False", reason: "AddressConflict" },
      );
      t.notOk((await gw.addresses("net1")).includes("203.0.113.66/24"));
      t.equal((await gw.api.put("eips/eip-67", { address: "203.0.113.67/24" })).status, 200);
      await gw.api.delete("eips/eip-66");
      await gw.expectConverged(t);
    });

    await t.test("a change from outside is seen and repaired", async (t) => {
      await gw.lab.ip("gw", "address delete 203.0.113.12/24 dev net1");
      await until("the address to return", async () =>
        (await gw.addresses("net1")).includes("203.0.113.12/24"),
      );
      await gw.lab.ip("gw", "route delete default");
      await until("the default route to return", async () =>
        (await gw.lab.exec("gw", ["ip", "route", "show", "default"])).includes("via 203.0.113.1"),
      );
      if (dataplane === "iptables-legacy") return;
      const rules = await gw.translations();
      await gw.byHand.flush();
      await until("the rule to return", async () => (await gw.translations()).length === rules.length);
      await gw.expectConverged(t);
    });
  });
}
