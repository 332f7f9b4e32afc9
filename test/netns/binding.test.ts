/** EIPs bound by local routes: traffic, drift, first contact, and changing the binding under live connections. */
import t, { type Test } from "tap";
import { Gateway } from "../support/gateway.ts";
import type { HostStream } from "../support/host.ts";
import { gatewayMacs, labAddresses } from "../support/lab.ts";
import { until } from "../support/run.ts";
import { eip, eipAddress, gateway, outsideTcp, tcp, udp, webDnat } from "../support/targets.ts";

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11), eip(12)],
  fips: [{ name: "fip", eip: "eip-10", internalIp: "10.0.1.5" }],
  dnats: [webDnat],
  snats: [{ name: "all", eip: "eip-12", internalCIDR: "10.0.1.0/24" }],
};
const web = tcp("203.0.113.11", 8080);

const own = `${labAddresses.external}/24`;
const asAddresses = set.eips.map(({ address }) => address);
const byRoute = { NATGW_EIP_BINDING: "route" };
const byAddress = { NATGW_EIP_BINDING: "address" };

for (const dataplane of ["iptables-nft", "nftables"] as const) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane, { NATGW_ARP_PROBE: "100ms" });
    const [outside, pod1, pod2] = [gw.host("outside"), gw.host("pod1"), gw.host("pod2")];

    /** The routes of the agent in the local table, as `203.0.113.10`. */
    const bound = async () => {
      const text = await gw.lab.exec("gw", ["ip", "route", "show", "table", "local", "proto", "196"]);
      return [...text.matchAll(/^local (\S+) dev net1 scope host metric 77/gm)].map(([, ip]) => ip);
    };
    const ips = (...lastBytes: readonly number[]) => lastBytes.map(eipAddress);
    const traffic = async (t: Test) => {
      // The gateway's MAC is not known any more: ARP must resolve it again, for each EIP.
      await gw.lab.ip("outside", "neigh flush dev eth0");
      t.match(await outside.ask(tcp("203.0.113.10")), { answeredBy: "pod1", seenAs: labAddresses.outside });
      t.match(await outside.ask(udp("203.0.113.10")), { answeredBy: "pod1", seenAs: labAddresses.outside });
      t.match(await outside.ask(web), { answeredBy: "pod2", seenAs: labAddresses.outside });
      t.match(await pod1.ask(outsideTcp), { answeredBy: "outside", seenAs: "203.0.113.10" });
      t.match(await pod2.ask(outsideTcp), { answeredBy: "outside", seenAs: "203.0.113.12" });
      t.match(await pod2.ask(tcp("203.0.113.10")), { answeredBy: "pod1", seenAs: "203.0.113.10" });
      t.match(await pod2.ask(web), { answeredBy: "pod2", seenAs: "203.0.113.11" });
    };
    let streams: readonly HostStream[] = [];
    const goOn = async (t: Test) => {
      for (const stream of streams) t.ok(await stream.advance(20_000, 10_000), "the stream goes on");
    };

    await t.test("from addresses to routes: streams continue, and no address is left", async (t) => {
      t.equal((await gw.api.putSet(set, "?wait=20s")).status, 200);
      streams = await Promise.all([
        outside.open(tcp("203.0.113.10")),
        outside.open(web),
        pod2.open(outsideTcp),
        pod1.open(outsideTcp),
      ]);
      await goOn(t);
      t.same(await gw.addresses("net1"), [own, ...asAddresses]);
      t.equal(await gw.agent.stop(), 0);
      await gw.startAgent(byRoute).whenReady();
      t.same(await gw.addresses("net1"), [own]);
      t.same(await bound(), ips(10, 11, 12));
      await goOn(t);
      await traffic(t);
      t.same(await gw.api.degradedReasons(), []);
      await gw.expectConverged(t);
    });

    await t.test("an EIP bound by route behaves like any EIP", async (t) => {
      await gw.lab.ip(
        "outside",
        "neigh replace 203.0.113.13 lladdr 02:00:00:00:00:99 dev eth0 nud reachable",
      );
      t.equal((await gw.api.put("eips/eip-13", { address: "203.0.113.13/24" })).status, 200);
      await until("those on the wire to hear who has it", async () =>
        (await gw.lab.exec("outside", ["ip", "neigh", "show", "203.0.113.13"])).includes(gatewayMacs.net1),
      );
      t.same(await bound(), ips(10, 11, 12, 13));
      const { body } = await gw.api.call<{ addresses: readonly { ip: string; role: string }[] }>(
        "GET",
        "/v1/inventory",
      );
      t.same(
        body.addresses.map(({ ip, role }) => `${ip} ${role}`),
        ["203.0.113.1 gateway", ...ips(10, 11, 12, 13).map((ip) => `${ip} eip`), "203.0.113.254 self"],
      );
      t.match((await gw.api.call("POST", "/v1/inventory/203.0.113.13/release")).status, 409);
      await gw.api.delete("eips/eip-13");
      t.same(await bound(), ips(10, 11, 12));
      await gw.expectConverged(t);
    });

    await t.test(
      "removed bindings are restored at once, after link changes and foreign changes",
      async (t) => {
        await gw.lab.ip("gw", "route delete local 203.0.113.10/32 dev net1 table local proto 196");
        await until("the route to come back", async () => (await bound()).length === 3);
        await gw.lab.ip("gw", "link set net1 down", "link set net1 up");
        await until("the default route to come back", async () => (await gw.api.plan()).changes.length === 0);
        t.same((await bound()).toSorted(), ips(10, 11, 12));

        // The kernel also removes all routes on net1, without an event for them.
        await gw.lab.ip("gw", "address flush dev net1");
        await until("the routes to come back", async () => (await bound()).length === 3);
        await until("the agent to say why", async () =>
          (await gw.api.degradedReasons()).includes("NoOwnAddress"),
        );
        t.equal((await gw.addresses("net1")).length, 1, "one EIP keeps an address for them to rest on");
        await gw.expectConverged(t);
        await gw.lab.ip("gw", `address add ${own} dev net1`);
        await until("that one to go", async () => (await gw.addresses("net1")).join() === own);
        await gw.expectConverged(t);
        t.same(await gw.api.degradedReasons(), []);
        await goOn(t);
        await traffic(t);
      },
    );

    await t.test("after the loss of the store binding routes stay until a set is PUT", async (t) => {
      await gw.agent.kill();
      await gw.loseState();
      await gw.startAgent(byAddress).whenLive();
      await until("the agent to look", async () => (await gw.api.degradedReasons()).includes("NotAdopted"));
      t.equal((await bound()).length, 3);
      t.match(await gw.api.putSet(set, "?wait=20s"), { status: 200, body: { notReadyTotal: 0 } });
      t.same((await gw.addresses("net1")).toSorted(), [own, ...asAddresses].toSorted());
      t.same(await bound(), []);
      await goOn(t);
      await gw.expectConverged(t);
    });

    await t.test(
      "to routes and back with kill -9 in between: streams continue, and no route is left",
      async (t) => {
        await gw.agent.kill();
        await gw.startAgent(byRoute).whenReady();
        t.same(await gw.addresses("net1"), [own]);
        t.equal((await bound()).length, 3);
        await goOn(t);
        await gw.agent.kill();
        await gw.startAgent(byAddress).whenReady();
        t.same((await gw.addresses("net1")).toSorted(), [own, ...asAddresses].toSorted());
        t.same(await bound(), []);
        await goOn(t);
        await traffic(t);
        await gw.expectConverged(t);
        for (const stream of streams) t.ok((await stream.close()).isIntact, "without losing a byte");
      },
    );

    await t.test("removing an EIP bound by route ends its flows", async (t) => {
      await gw.agent.kill();
      await gw.startAgent(byRoute).whenReady();
      const stream = await outside.open(tcp("203.0.113.10"));
      t.ok(await stream.advance(5_000));
      t.equal((await gw.api.putSet({ generation: 2, gateway, eips: [eip(12)] }, "?wait=20s")).status, 200);
      t.same(await gw.addresses("net1"), [own]);
      t.same(await bound(), ips(12));
      t.same(await gw.flows("203.0.113.10", "10.0.1.5"), []);
      t.ok(await outside.hearsNothing(tcp("203.0.113.10")));
      await stream.close();
      await gw.expectConverged(t);
    });

    await t.test("if all rules are lost too, an EIP is not removed unasked", async (t) => {
      await gw.agent.kill();
      await gw.loseState();
      await gw.lab.exec("gw", ["nft", "flush", "ruleset"]);
      await gw.startAgent(byRoute).whenLive();
      await until("the agent to look", async () => (await gw.api.degradedReasons()).includes("NotAdopted"));
      t.same(await bound(), ips(12));
      t.equal((await gw.api.putSet({ generation: 1, gateway }, "?wait=20s")).status, 200);
      t.same(await bound(), []);
      await gw.expectConverged(t);
    });
  });
}
